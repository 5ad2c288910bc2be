"""Judging programs: right ones pass, wrong ones do not, hostile ones are contained, and nothing is left behind."""

from __future__ import annotations

import gzip
import json
import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hostile_programs import ATTACKS, PROGRAMS, Hostile

import neuromas_env
from neuromas_env.errors import UsageError
from neuromas_env.sandbox import Check, Isolation, Limits, Verdict, isolation, judge, judging
from neuromas_env.sandbox.lockdown import SET_SUBREAPER, prctl
from neuromas_env.sandbox.runner import FOLDER_PREFIX, run_check

DATA = os.environ.get("NEUROMAS_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="NEUROMAS_DATA names no folder with benchmark files")
needs_lock = pytest.mark.skipif(not isolation().sufficient, reason=f"programs cannot be locked up: {isolation()}")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")

UNLOCKED = Isolation(0, False, None)


def humaneval() -> list[dict[str, str]]:
    with gzip.open(Path(str(DATA)) / "humaneval" / "HumanEval.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def humaneval_check(row: dict[str, str], body: str) -> Check:
    test = f"{row['test']}\ncheck({row['entry_point']})"
    return Check(row["prompt"] + body, row["prompt"], test, row["entry_point"])


def verdict_of(source: str, test: str, setup: str = "", entry_point: str | None = "solve", **limits: Any) -> Verdict:
    check = Check(textwrap.dedent(source), textwrap.dedent(setup), textwrap.dedent(test), entry_point)
    return judge([check], Limits(**limits))[0]


def below(root: int) -> list[int]:
    """The processes that descend from `root`, with those that have ended and were not reaped."""
    children = defaultdict(list)
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            parent = Path(f"/proc/{name}/stat").read_bytes().rpartition(b")")[2].split()[1]
        except OSError:
            continue
        children[int(parent)].append(int(name))
    found, todo = [], [root]
    while todo:
        found += (more := children[todo.pop()])
        todo += more
    return found


@pytest.fixture
def nothing_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Fails a test that leaves a process, a descriptor or a file behind. Gives the folder where checks have theirs."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    judging.require_isolation(force=not isolation().sufficient)  # what is found out once is no part of it
    prctl(SET_SUBREAPER, 1)  # processes that lose their parent come here
    descriptors, processes = os.listdir("/proc/self/fd"), below(os.getpid())
    try:
        yield folder
        assert below(os.getpid()) == processes
        assert len(os.listdir("/proc/self/fd")) <= len(descriptors)  # what other tests left open may have closed
        assert os.listdir(folder) == []
    finally:
        prctl(SET_SUBREAPER, 0)


# --- what a test may use -------------------------------------------------------------------------------------------

PASSING = {
    "a function": ("def solve(a, b): return a + b", "assert solve(1, 2) == 3"),
    "keywords": ("def solve(a, *, b=1): return a - b", "assert solve(5, b=3) == 2"),
    "a class of the program": (
        """
        class Pair:
            def __init__(self, a, b): self.a, self.b = a, b
        def solve(pairs, n): return [(pair.b, pair.a) for pair in pairs[:n]]
        """,
        "assert solve([Pair(5, 24), Pair(15, 25)], 1) == [(24, 5)]",
    ),
    "a tree built by the test": (
        """
        class Node:
            def __init__(self, data): self.data, self.left, self.right = data, None, None
        def solve(node): return 0 if node is None else 1 + max(solve(node.left), solve(node.right))
        """,
        """
        root = Node(1)
        root.left = Node(2)
        root.left.right = Node(3)
        assert solve(root) == 3
        assert root.left.data == 2 and root.right is None
        assert root.left is root.left and root != root.left
        """,
    ),
    "methods and state": (
        """
        class Stack:
            def __init__(self): self.items = []
            def push(self, item): self.items.append(item)
            def __len__(self): return len(self.items)
            def __iter__(self): return iter(self.items)
        def solve(): return Stack()
        """,
        """
        s = solve()
        s.push((1, 'x'))
        s.push(2)
        assert len(s) == 2 and list(s) == [(1, 'x'), 2] and s and not solve()
        """,
    ),
    "iterators": (
        "def solve(n): return (i * i for i in range(n))",
        "assert list(solve(4)) == [0, 1, 4, 9]\nassert next(solve(1)) == 0\nassert solve(3) != [0, 1, 4]",
    ),
    "lazy built-ins": (
        "def solve(x): return {'map': map(str, x), 'zip': zip(x, x), 'rev': reversed(x), 'enum': enumerate(x)}",
        """
        r = solve([1, 2])
        assert list(r['map']) == ['1', '2'] and list(r['zip']) == [(1, 1), (2, 2)]
        assert list(r['rev']) == [2, 1] and dict(r['enum']) == {0: 1, 1: 2}
        """,
    ),
    "views and ranges": (
        "def solve(d): return d.keys(), d.values(), d.items(), range(3, 9, 2)",
        """
        keys, values, items, steps = solve({'a': 1, 'b': 2})
        assert keys == {'a', 'b'} and list(values) == [1, 2] and ('a', 1) in items and steps == range(3, 9, 2)
        """,
    ),
    "subclasses of plain types": (
        """
        from collections import Counter, OrderedDict, defaultdict, namedtuple
        from enum import IntEnum
        Point = namedtuple('Point', 'x y')
        Colour = IntEnum('Colour', 'RED GREEN')
        def solve(text): return Counter(text), defaultdict(list, a=[1]), OrderedDict(b=1), Point(1, 2), Colour.GREEN
        """,
        "assert solve('aab') == ({'a': 2, 'b': 1}, {'a': [1]}, {'b': 1}, (1, 2), 2)",
    ),
    "numbers": (
        "from decimal import Decimal\nfrom fractions import Fraction\n"
        "def solve(): return Decimal('0.1') + Decimal('0.2'), Fraction(1, 3) * 3, 1j * 1j, 2 ** 5000, True",
        """
        decimal, fraction, square, big, truth = solve()
        assert str(decimal) == '0.3' and fraction == 1 and square == -1 and big == 2 ** 5000 and truth is True
        """,
    ),
    "nan and infinity": (
        "def solve(x): return [x, -x, float('nan'), -0.0]",
        """
        import math
        a, b, c, d = solve(float('inf'))
        assert a == math.inf and b == -math.inf and math.isnan(c) and math.copysign(1, d) == -1
        """,
    ),
    "texts of all kinds": (
        "def solve(text): return text[::-1]",
        "assert solve('né水\\0\\ud800\\udc00') == '\\udc00\\ud800\\0水én'",
    ),
    "types as arguments": (
        "def solve(items, kind): return [x for x in items if type(x) is not kind]",
        "assert solve((1, 'a', 2.0), int) == ['a', 2.0] and solve((1, 'a', None), type(None)) == [1, 'a']",
    ),
    "expected exceptions": (
        "class Own(ValueError): pass\ndef solve(x): raise Own('bad') if x else KeyError(x)",
        """
        try:
            solve(1)
            assert False
        except ValueError as error:
            assert 'bad' in str(error)
        try:
            solve(0)
            assert False
        except KeyError:
            pass
        """,
    ),
    "modules that the test forgot to import": (
        "import sys\ndef solve(x): return sys.getsizeof(x)",
        "assert solve((1, 2)) == sys.getsizeof((1, 2)) and math.isclose(0.1 + 0.2, 0.3)",
    ),
    "the standard library": (
        """
        import asyncio, bisect, collections, copy, csv, dataclasses, datetime, functools, hashlib, heapq, itertools
        import json, math, operator, os, random, re, statistics, string, sqlite3, subprocess, threading, typing, zlib
        @dataclasses.dataclass(order=True)
        class Item:
            n: int
        @functools.cache
        def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
        def solve():
            return (hashlib.md5(b'x').hexdigest()[:6], fib(50), re.sub('a+', 'b', 'caat'), zlib.crc32(b'x'),
                    datetime.date(2024, 2, 29).isoformat(), heapq.nlargest(1, [1, 3]), max(Item(1), Item(2)).n,
                    sqlite3.connect(':memory:').execute('select 1 + 1').fetchone(), hashlib.sha256().name)
        """,
        """
        assert solve() == ('9dd4e4', 12586269025, 'cbt', 2363233923, '2024-02-29', [3], 2, (2,), 'sha256')
        """,
    ),
    "its own folder": (
        """
        import os, tempfile
        def solve():
            with open('new', 'w') as file: file.write('text')
            os.rename('new', 'renamed')
            with tempfile.NamedTemporaryFile('w+') as file: file.write('x')
            with open('renamed') as file: return file.read(), os.listdir()
        """,
        "assert solve() == ('text', ['renamed'])",
    ),
    "output, input and main": (
        """
        import sys
        print('x' * 100_000)
        def solve():
            print('called', file=sys.stderr)
            return sys.stdin.read()
        if __name__ == '__main__':
            raise SystemExit('not run')
        """,
        "assert solve() == ''",
    ),
    "deep recursion": (
        "import sys\nsys.setrecursionlimit(20_000)\ndef solve(n): return n and 1 + solve(n - 1)",
        "assert solve(10_000) == 10_000",
    ),
    "a name of the test's own": ("def solve(): return 1", "def helper(f): return f() + 1\nassert helper(solve) == 2"),
    "a large result": ("def solve(n): return list(range(n))", "assert solve(200_000) == list(range(200_000))"),
}


@needs_lock
@on_linux
def test_right_programs_pass_with_all_that_tests_use(nothing_left):
    checks = [Check(textwrap.dedent(s), "", textwrap.dedent(t), "solve") for s, t in PASSING.values()]
    verdicts = judge(checks)
    assert {name: v for name, v in zip(PASSING, verdicts, strict=True) if not v.passed} == {}


@needs_lock
@pytest.mark.parametrize("name", PASSING)
def test_the_same_tests_fail_without_the_program(name):
    verdict = verdict_of("def other(): pass", PASSING[name][1])
    assert (verdict.status, "NameError" in verdict.detail) == ("failed", True)


@needs_lock
def test_an_entry_point_may_have_the_name_of_a_builtin_and_no_other_name_may():
    source = "def sum(a, b): return 'own'\ndef len(x): return 41\ndef solve(): return []"
    assert verdict_of(source, "assert sum(1, 2) == 'own'", entry_point="sum").passed
    assert verdict_of(source, "assert len(solve()) == 0", entry_point=None).passed


@needs_lock
def test_helpers_of_the_setup_are_the_benchmarks_and_its_stub_is_not():
    setup = "def helper(x):\n    return x + 1\ndef solve(x):\n    'To be written.'"
    source = "def helper(x):\n    return 41\ndef solve(x):\n    return x + 1"
    assert verdict_of(source, "assert helper(1) == solve(1) == 2", setup).passed
    assert not verdict_of(setup, "assert solve(1) == 2", setup).passed


@needs_lock
def test_arguments_are_copies():
    assert verdict_of("def solve(x): x.append(1)", "x = []\nsolve(x)\nassert x == []").passed


@needs_lock
def test_sets_have_the_same_order_in_every_check():
    source = "def solve(): return list({str(n) for n in range(50)})"
    orders = {verdict_of(source, "assert False, solve()").detail for _ in range(3)}
    assert len(orders) == 1


# --- verdicts ------------------------------------------------------------------------------------------------------


@needs_lock
@pytest.mark.parametrize(
    ("source", "test", "status", "detail"),
    [
        ("def solve(): return 1", "assert solve() == 1", "passed", ""),
        ("def solve(): return 1", "assert solve() == 2, 'not 2'", "failed", "AssertionError: not 2"),
        ("def solve(): return {}['x']", "solve()", "failed", "KeyError: \"'x'\""),
        ("import nowhere", "solve()", "failed", "ModuleNotFoundError: No module named 'nowhere'"),
        ("def solve(): raise ValueError('a\\nb\\x1b[1m\\ud800')", "solve()", "failed", "ValueError: a b?[1m?"),
        ("def solve(): raise StopIteration(1)", "next(iter(solve, 2))", "failed", "StopIteration: 1"),
        ("def solve(x): return 1", "solve(lambda: 1)", "failed", "TypeError: a function cannot be sent to the program"),
        ("def solve(): raise MemoryError", "solve()", "memory", "the memory that a check may use ran out"),
        ("def solve(): return 1", "assert True", "error", "the test calls nothing of the program"),
        ("def solve(): return 1", "assert (", "error", "the test does not compile: '(' was never closed"),
        ("def solve(): return 1", "solve()\nraise SystemExit(0)", "failed", "SystemExit: 0"),
        ("def solve(): return 1", "import os\nsolve()\nos._exit(0)", "error", "ended without a verdict"),
        ("def solve(): return 1", "solve()\nwhile True: pass", "timeout", "more than 1 s of the processor"),
        ("def solve(): return 1", "solve()\nbytearray(8 << 30)", "memory", "ran out"),
        ("import time\ndef solve(): time.sleep(9)", "solve()", "timeout", "no verdict within 1.5 s"),
    ],
)
def test_a_verdict_says_how_a_check_ended(source, test, status, detail):
    verdict = verdict_of(source, test, wall_seconds=1.5 if "sleep" in source else 30, cpu_seconds=1)
    assert (verdict.status, verdict.passed) == (status, status == "passed")
    assert detail in verdict.detail


@needs_lock
def test_a_test_cannot_swallow_that_the_program_ended():
    test = "try:\n    solve()\nexcept BaseException:\n    pass\ntry:\n    solve()\nexcept BaseException:\n    pass"
    assert verdict_of("def solve(): 1 / 0", test).status == "passed"
    assert verdict_of("import os\ndef solve(): os._exit(0)", test).status == "killed"
    assert verdict_of("import os\ndef solve(): os.closerange(0, 64)", test).status == "killed"


@needs_lock
def test_verdicts_come_in_the_order_of_the_checks():
    sources = [f"import time\ndef solve(): time.sleep({(5 - n) / 20}); return {n}" for n in range(6)]
    checks = [Check(source, "", f"assert solve() == {n - n % 2}", None) for n, source in enumerate(sources)]
    assert [verdict.passed for verdict in judge(checks, workers=3)] == [True, False] * 3
    assert judge([]) == []


def test_limits_and_workers_must_make_sense():
    with pytest.raises(UsageError, match=r"wall_seconds is 0; a number above 0 is accepted"):
        Limits(wall_seconds=0)
    with pytest.raises(UsageError, match=r"memory_mb is 1\.5; a whole number above 0"):
        Limits(memory_mb=1.5)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="descriptors is 3; at least 16"):
        Limits(descriptors=3)
    with pytest.raises(UsageError, match="wall_seconds is nan"):
        Limits(wall_seconds=math.nan)
    if isolation().sufficient:
        with pytest.raises(UsageError, match="workers is 0"):
            judge([], workers=0)


# --- the published benchmark ---------------------------------------------------------------------------------------


@needs_lock
@needs_data
def test_all_reference_solutions_of_humaneval_pass():
    rows = humaneval()
    verdicts = judge([humaneval_check(row, row["canonical_solution"]) for row in rows])
    assert len(rows) == 164
    assert {row["task_id"]: v for row, v in zip(rows, verdicts, strict=True) if not v.passed} == {}


@needs_lock
@needs_data
def test_no_function_of_humaneval_passes_that_returns_none():
    rows = humaneval()
    verdicts = judge([humaneval_check(row, "    return None\n") for row in rows])
    assert Counter(verdict.status for verdict in verdicts) == {"failed": 164}


# --- hostile programs ----------------------------------------------------------------------------------------------


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[dict[str, str]]:
    """What attacks are aimed at: a secret, a folder, a port. Fails a test that changes or reaches it."""
    secret, outside, mark = tmp_path / "secret.txt", tmp_path / "outside", f"mark-{os.getpid()}"
    secret.write_text("secret")
    outside.mkdir()
    package = Path(neuromas_env.__file__)
    before = fingerprint(secret), fingerprint(package)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield {
            "@SECRET@": str(secret),
            "@OUTSIDE@": str(outside),
            "@MARK@": mark,
            "@PACKAGE@": str(package),
            "@JUDGE@": str(os.getpid()),
            "@PORT@": str(server.getsockname()[1]),
        }
        with pytest.raises(BlockingIOError):
            server.accept()
    assert (secret.read_text(), os.listdir(outside)) == ("secret", [])
    assert (fingerprint(secret), fingerprint(package)) == before
    marked = [Path(place, mark) for place in ("/tmp", "/dev/shm", "/var/tmp", Path.home(), tmp_path)]
    assert [path for path in marked if path.exists()] == []


def fingerprint(path: Path) -> tuple[int, ...]:
    status = path.stat()
    return status.st_mtime_ns, status.st_mode, status.st_uid, status.st_size, status.st_nlink


def aimed(hostile: Hostile, victim: dict[str, str]) -> Check:
    source = hostile.source
    for placeholder, value in victim.items():
        source = source.replace(placeholder, value)
    return Check(source, hostile.setup, hostile.test, "solve")


def locks() -> list[Isolation]:
    """The whole lock, and each part that is enough by itself."""
    found = isolation()
    parts = [found, Isolation(found.landlock, found.seccomp, None), Isolation(0, found.seccomp, found.bubblewrap)]
    return list(dict.fromkeys(part for part in parts if part.sufficient))


@needs_lock
@pytest.mark.parametrize("lock", locks(), ids=str)
@pytest.mark.parametrize("name", PROGRAMS)
def test_hostile_programs_are_contained_and_leave_nothing(name, lock, nothing_left, victim):
    hostile = PROGRAMS[name]
    verdict = run_check(aimed(hostile, victim), hostile.limits, lock)
    assert verdict.status in hostile.statuses, verdict
    assert not verdict.passed
    assert len(verdict.detail) <= 300
    assert verdict.detail.isprintable()


def test_there_are_many_hostile_programs():
    assert len(PROGRAMS) >= 100


HARMLESS = (
    "connect", "listen", "datagram", "local socket", "read a secret", "read system files", "list folders",
    "starting programs", "read packages", "read other processes", "its own pipes", "closing its folder",
)  # fmt: skip


@on_linux
@pytest.mark.parametrize("name", HARMLESS)
def test_attacks_are_real_where_there_is_no_lock(name, nothing_left, tmp_path):
    """Else the test above would show nothing. Resource limits are all that is put on these."""
    if name == "starting programs" and os.geteuid() != 0:
        pytest.skip("the limit on processes, which holds for users, is enough against it")
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        aim = {"@SECRET@": str(secret), "@JUDGE@": str(os.getpid()), "@PORT@": str(server.getsockname()[1])}
        aim["@PACKAGE@"] = neuromas_env.__file__
        verdict = run_check(aimed(ATTACKS[name], aim), Limits(), UNLOCKED)
    assert verdict.passed, verdict


@on_linux
@pytest.mark.skipif(os.geteuid() != 0, reason="the limit on processes, which holds for users, is enough against it")
def test_processes_that_get_away_are_found_where_there_is_no_lock(nothing_left):
    source = """
    import os, signal, time
    def solve():
        for ending in range(3):
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    signal.signal(signal.SIGTERM, signal.SIG_IGN)
                    os.closerange(0, 64)
                    time.sleep(600)
                os._exit(0)
        return 'started'
    """
    check = Check(textwrap.dedent(source), "", "assert solve() == 'started'", "solve")
    assert run_check(check, Limits(), UNLOCKED).passed


@needs_lock
@on_linux
def test_many_checks_leak_nothing(nothing_left):
    source = "import os\ndef solve(x):\n    if x == 1: raise SystemExit\n    if x == 2: os._exit(0)\n    return x"
    checks = [Check(source, "", f"assert solve({n % 4}) == {n % 4}", "solve") for n in range(100)]
    assert [verdict.status for verdict in judge(checks, workers=4)] == ["passed", "failed", "killed", "passed"] * 25


@needs_lock
@on_linux
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_nothing_outlives_the_process_that_judges(ending, nothing_left):
    code = f"""
    import tempfile
    from neuromas_env.sandbox import *
    tempfile.tempdir = {str(nothing_left)!r}
    source = "import time\\ndef solve(): open('started', 'w').close(); time.sleep(600)"
    judge([Check(source, "", "solve()", "solve")] * 4, Limits(wall_seconds=300), workers=2)
    """
    known = below(os.getpid())
    judging_process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # tests in the background have it ignored
    )
    try:
        wait_until(lambda: len(list(nothing_left.glob(f"{FOLDER_PREFIX}*/program/started"))) == 2)
        judging_process.send_signal(ending)
        error = judging_process.communicate(timeout=60)[1].decode()
    finally:
        judging_process.kill()
    assert ("KeyboardInterrupt" in error) == (ending == signal.SIGINT)
    wait_until(lambda: reaped(known) and os.listdir(nothing_left) == [])


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def reaped(known: Collection[int]) -> bool:
    """Reap what came here when it lost its parent; whether all of it has ended. Not the `known` ones of other tests."""
    for process in set(below(os.getpid())) - set(known):
        with suppress(ChildProcessError):  # a child of a child
            os.waitpid(process, os.WNOHANG)
    return set(below(os.getpid())) <= set(known)


@needs_lock
@on_linux
def test_a_process_that_cannot_be_locked_down_runs_no_program(nothing_left, monkeypatch):
    monkeypatch.setattr("neuromas_env.sandbox.runner.seccomp_filter", lambda: b"\xff" * 8)
    verdict = run_check(Check("def solve(): return 1", "", "assert solve() == 1", "solve"), Limits(), isolation())
    assert verdict.status == "error"
