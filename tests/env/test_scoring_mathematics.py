"""The judge of mathematics: what is equal and what is not, and a worker that hostile text cannot turn or stop."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from answers_in_the_wild import EQUAL, UNEQUAL

from neuromas_env.errors import UsageError
from neuromas_env.scoring import (
    MathJudge,
    MathVerdict,
    mathematics,
    process,
    shared_math_judge,
)

needs_math_verify = pytest.mark.skipif(
    importlib.util.find_spec("math_verify") is None, reason="math-verify is not installed"
)
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def judge() -> Iterator[MathJudge]:
    with MathJudge(seconds=60) as judge:  # the verdicts below must not depend on how busy the machine is
        yield judge


@needs_math_verify
@pytest.mark.parametrize(("reference", "texts"), EQUAL, ids=[reference for reference, _ in EQUAL])
def test_equal_expressions_are_equal(judge: MathJudge, reference: str, texts: list[str]) -> None:
    for text in [reference, f"\\boxed{{{reference}}}", f"The answer is ${reference}$.", *texts]:
        assert judge.judge(reference, text).status == "correct", text
        assert judge.judge(reference, text, strict=False).status == "correct", text


@needs_math_verify
@pytest.mark.parametrize(("reference", "texts"), UNEQUAL, ids=[reference for reference, _ in UNEQUAL])
def test_unequal_expressions_are_not(judge: MathJudge, reference: str, texts: list[str]) -> None:
    for text in texts:
        verdict = judge.judge(reference, text)
        assert verdict.status == "wrong", text
        assert verdict.parsed


@needs_math_verify
@pytest.mark.parametrize(
    "text",
    ["", "   ", "no answer here", "The answer is unclear to all of us.", "\\boxed{}", "What is 2 + 3?", "Answer:"],
)
def test_texts_without_an_answer_are_unparsed(judge: MathJudge, text: str) -> None:
    assert judge.judge("5", text) == MathVerdict("unparsed", None)


@needs_math_verify
def test_flexible_takes_what_stands_in_the_text_unless_it_is_a_list(judge: MathJudge) -> None:
    text = "Adding both sides gives $x = 5$ for the first unknown"
    assert judge.judge("5", text).status == "unparsed"
    assert judge.judge("5", text, strict=False).status == "correct"
    assert judge.judge("6", text, strict=False).status == "wrong"
    for recited in ("It may be one of these: 1, 2, 3, 4, 5", "We find that it is 4 or 5"):
        assert judge.judge("5", recited, strict=False).status != "correct"
    assert judge.judge("70", "\\boxed{35 + 35}", strict=False).status == "correct"  # math-verify's own rule


@needs_math_verify
def test_many_are_judged_in_order(judge: MathJudge) -> None:
    pairs = [("5", "\\boxed{5}"), ("5", "\\boxed{6}"), ("x + 1", "\\boxed{1 + x}"), ("5", ""), ("5", "\\boxed{6}")]
    assert [verdict.status for verdict in judge.judge_all(pairs)] == [
        "correct",
        "wrong",
        "correct",
        "unparsed",
        "wrong",
    ]


@needs_math_verify
def test_hostile_expressions_run_nothing_and_leave_the_judge_working(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    call = f"__import__('os').system('touch {mark}')"
    forms = [
        "\\boxed{{{}}}",
        "\\boxed{{\\text{{{}}}}}",
        "\\boxed{{\\{{\\text{{{}}}, 1\\}}}}",
        "we see 1 + {} here",
        "{}",
    ]
    endless = ["9^{9^{9^{9}}}", "10^{10^{10}}", "99999999999!", "(" * 900, "\ud800", "\x00", "(x+1)^{10000}"]
    with MathJudge(seconds=0.5) as judge:
        judge.judge("x^2 + y", "\\boxed{z}")
        for text in [*[form.format(call) for form in forms], *[f"\\boxed{{{text}}}" for text in endless]]:
            assert judge.judge("x^2 + y", text, strict=False).status in ("wrong", "failed", "unparsed")
        assert judge.judge("x^2 + y", "we find 10**10**10 here, see", strict=False).status == "failed"
        assert not mark.exists()
        assert judge.judge("3x", "\\boxed{x + 2x}").status in ("correct", "failed")
        judge.seconds = 60
        assert judge.judge("4x", "\\boxed{2x + 2x}").status == "correct"


@needs_math_verify
def test_a_killed_worker_is_started_again(judge: MathJudge) -> None:
    judge.judge("x", "\\boxed{y}")
    first = judge._process.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    statuses = [judge.judge("x", f"\\boxed{{y + {n}}}").status for n in range(2)]
    assert statuses in (["failed", "wrong"], ["wrong", "wrong"])
    assert judge._process.pid != first


WORKERS = {
    "dead": "",
    "garbage": "import sys\nprint('{\"ready\": true}', flush=True)\nfor _ in sys.stdin: print('no json', flush=True)",
    "late": "import sys, time\nprint('{\"ready\": true}', flush=True)\nfor _ in sys.stdin: time.sleep(600)",
}


@needs_math_verify
def test_a_worker_that_does_not_answer_costs_the_time_limit_and_no_more() -> None:
    with MathJudge(0.2, worker=[sys.executable, "-c", WORKERS["late"]]) as judge:
        assert judge.judge("x", "\\boxed{y}") == MathVerdict("failed", "y")
        assert judge._process.pid is None  # killed, not left behind


@needs_math_verify
@pytest.mark.parametrize("worker", ["dead", "garbage"])
def test_a_broken_worker_is_reported(worker: str) -> None:
    with MathJudge(5, worker=[sys.executable, "-c", WORKERS[worker]]) as judge, pytest.raises((UsageError, ValueError)):
        judge.judge("x", "\\boxed{y}")
    assert judge._process.pid is None


def test_without_math_verify_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'neuromas\[tasks\]'"):
        MathJudge()
    with pytest.raises(UsageError, match="time limit"):
        MathJudge(seconds=0)


@needs_math_verify
def test_threads_take_turns(judge: MathJudge) -> None:
    found: dict[int, list[str]] = {}

    def work(number: int) -> None:
        pairs = [(f"{number}x + {n}", f"\\boxed{{{n} + {number + n % 2} x}}") for n in range(8)]
        found[number] = [verdict.status for verdict in judge.judge_all(pairs)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: ["correct", "wrong"] * 4 for number in range(2, 6)}


def run(program: str, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = {"PYTHONPATH": f"{ROOT}"}
    return subprocess.run(
        [sys.executable, "-P", "-c", program, *arguments],
        cwd=cwd,
        env=os.environ | path,
        capture_output=True,
        text=True,
        timeout=300,
    )


@needs_math_verify
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_the_child_of_a_fork_has_its_own_worker(tmp_path: Path) -> None:
    program = """
import os, sys, threading
from neuromas_env.scoring import shared_math_judge
judge = shared_math_judge()
judge.judge("x", "\\\\boxed{y}")
mine = judge._process.pid
held, done = threading.Event(), threading.Event()
def hold():  # as if another thread were waiting for a verdict
    with judge._process._lock:
        held.set()
        done.wait()
threading.Thread(target=hold).start()
held.wait()
child = os.fork()
if child == 0:
    assert judge.judge("2x", "\\\\boxed{x + x}").status == "correct"
    assert judge._process.pid not in (None, mine)
    sys.exit(0)  # with all that an interpreter does in the end
done.set()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert judge.judge("3x", "\\\\boxed{x + 2x}").status == "correct"
assert judge._process.pid == mine
print(mine)
"""
    result = run(program, tmp_path)
    assert result.returncode == 0, result.stderr
    with pytest.raises(ProcessLookupError):  # nothing is left of it, not even a zombie
        os.kill(int(result.stdout), 0)


@needs_math_verify
def test_files_in_the_working_directory_are_not_imported(tmp_path: Path) -> None:
    for name in ("math_verify", "sympy", "json", "random", "number"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the working directory')")
    program = """
from neuromas_env.scoring import MathJudge
with MathJudge() as judge:
    assert judge.judge("2x", "\\\\boxed{x + x}").status == "correct"
"""
    result = run(program, tmp_path)
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no alarms here")
def test_a_worker_that_nobody_kills_ends_itself(tmp_path: Path) -> None:
    endless = "class ExprExtractionConfig: pass\ndef parse(*_, **__):\n    while True: pass\ndef verify(): pass\n"
    config = "class LatexExtractionConfig:\n    def __init__(self, **_): pass\n"
    (tmp_path / "math_verify.py").write_text(endless + config)
    program = Path(mathematics.__file__).with_name("math_worker.py")
    command = [sys.executable, "-S", "-P", str(program), str(tmp_path), str(1 << 30), "0.1"]  # -S: hides the real one
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        assert json.loads(worker.stdout.readline()) == {"ready": True}
        worker.stdin.write(b'{"reference": "1", "answer": "1", "whole": false}\n')
        worker.stdin.flush()
        try:
            assert worker.wait(timeout=300) == -signal.SIGALRM
        finally:
            worker.kill()


@needs_math_verify
def test_an_interrupt_does_not_shift_the_replies(judge: MathJudge, monkeypatch: pytest.MonkeyPatch) -> None:
    judge.judge("x", "\\boxed{y}")

    def interrupted(descriptor: int) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(process, "_read_line", interrupted)
        with pytest.raises(KeyboardInterrupt):
            judge.judge("x", "\\boxed{y + 11}")  # the reply, "wrong", is still to come
    assert judge.judge("11x", "\\boxed{10x + x}").status == "correct"


@needs_math_verify
def test_judging_leaves_signals_and_random_numbers_alone(judge: MathJudge) -> None:
    handler = signal.getsignal(signal.SIGINT)
    random.seed(2)
    state = random.getstate()
    judge.judge("x", "\\boxed{y + 7}")
    assert signal.getsignal(signal.SIGINT) is handler
    assert random.getstate() == state
    assert shared_math_judge() is shared_math_judge()
