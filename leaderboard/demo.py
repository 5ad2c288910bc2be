"""`neuromas demo`: see a network of language models learn to talk, and what that is worth at equal cost.

Everything runs on the embedded backbone, on a CPU, without a download. The comparison is `neuromas compare` with fixed
settings; this file adds the story: what is done, what was seen, what to do next.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from baselines.compare import Comparison
    from baselines.results import Outcomes, Row

TASK, DIFFICULTY = "chain", "2-3"
NETWORK = "neuromas:1-1-1"
METHODS = f"direct,cot,self-consistency,single-rl,untrained:1-1-1,{NETWORK}"


def demo(out: Path = Path("neuromas-demo"), questions: int = 1000, seed: int = 0, jobs: int | None = None) -> None:
    """Train a first network on this machine and compare it with its baselines, in about five minutes.

    Three copies of a small embedded language model learn to solve arithmetic chains together, rewarded only for the
    final answer. Leaves a table, a plot, and every message of some episodes to read. Ctrl-C stops; the same command
    goes on from there.

    Args:
        out: The folder of everything that is written.
        questions: How many held-out questions each method is asked.
        seed: Decides the training questions, the initial adapters and every sampled token.
        jobs: How many trainings run at once; without it, one a CPU core.
    """
    started = time.monotonic()
    from rich.console import Console

    from baselines.commands import asked_as, default_jobs, interruptible, load, row_details, training_config
    from baselines.compare import Comparison, check_writable, parse_methods, run_comparison
    from baselines.evaluate import choose_questions
    from baselines.plot import draw
    from baselines.report import print_table, scope
    from baselines.results import write_results
    from neuromas_env.registry import make_task

    console = Console(file=sys.stderr, soft_wrap=True, highlight=False)
    check_writable(out, folder=True)
    task = make_task(TASK, difficulty=DIFFICULTY)
    training = training_config(task, "nano", (), asked_as(None, DIFFICULTY, None, False))
    asked = choose_questions(task, "test", questions)
    comparison = Comparison(
        task,
        "test",
        asked,
        parse_methods(METHODS),
        [seed],
        load("nano"),
        training,
        out,
        silence_layers=True,
        workers=jobs or default_jobs(training),
        details=row_details(task, "test", asked, None, DIFFICULTY),
    )
    console.print(introduction(comparison.questions[0].prompt, comparison.questions[0].answer))
    with interruptible(console), console.status("") as status:
        rows, outcomes = run_comparison(comparison, say=status.update)
    write_results(out / "results.json", rows)
    title = "Three small language models learn to talk: chains of 2-3 operations"
    for ending in ("png", "svg"):
        draw(rows, out / f"results.{ending}", title, f"{scope(rows)} · greedy answers, intervals at 95 %")
    page = write_page(comparison, rows)

    screen = Console(highlight=False)
    print_table(rows, screen, f"chain, 2-3 operations: {scope(rows)}")
    screen.print("\n[bold]What was seen[/bold]")
    for sentence in findings(rows, outcomes):
        screen.print(f"• {sentence}", soft_wrap=True)
    screen.print("\n[bold]What to do next[/bold]")
    for sentence in next_steps(out, page):
        screen.print(f"• {sentence}", soft_wrap=True)
    console.print(f"\nfinished in {time.monotonic() - started:.0f} s")


def write_page(comparison: Comparison, rows: Sequence[Row]) -> Path:
    """transcripts.html: the first episodes of every method, the trained network and how it learnt first."""
    from algorithms.run import Run
    from baselines.compare import transcript_file
    from neuromas_env.commands import write_file
    from neuromas_env.show import Part, render_page
    from neuromas_env.transcripts import read_transcript

    context = comparison.context(comparison.seeds[0])
    parts, metrics = [], []
    names = [row.method for row in rows if row.seed is None]
    for method in comparison.methods:
        for name in [name for name in names if name == str(method) or name.startswith(f"{method} (")]:
            file = transcript_file(comparison.out, method, name, context.seed)
            if file.exists():
                parts.append(Part(name, read_transcript(file)))
        if str(method) == NETWORK:
            metrics = Run(method.run_configs(context)[-1].folder).metrics
    parts.sort(key=lambda part: not part.name.startswith(NETWORK))
    page = comparison.out / "transcripts.html"
    write_file(page, render_page("neuromas demo", parts, metrics))
    return page


def introduction(question: str, answer: str) -> str:
    return (
        "[bold]neuromas demo[/bold]: a question is a chain of operations modulo 10, such as\n"
        f"    {question}    (answer: {answer})\n"
        "A message holds 8 tokens, too few to work a chain through, so one call mostly guesses. Now a network of\n"
        "three nodes (1-1-1) and, with as many trainable parameters and training calls, a single model learn from\n"
        "the reward of their final answers alone; then all methods are asked the same held-out questions.\n"
    )


def findings(rows: Sequence[Row], outcomes: dict[str, list[Outcomes]]) -> list[str]:
    """What the rows say, in words that follow the figures wherever they fall."""
    from baselines.report import difference, percent

    totals = {row.method: row for row in rows if row.seed is None}
    network = totals[NETWORK]
    sentences = [
        f"The trained network answers {percent(network.accuracy)} % of the {network.questions:,} held-out questions; "
        f"before training it answered {percent(totals['untrained:1-1-1'].accuracy)} %."
    ]
    vote = totals["self-consistency"]
    gain, low, high = (100 * value for value in difference(outcomes, NETWORK, vote.method))
    against = (
        f"a majority vote of {vote.extra['samples']:g} samples, which costs {vote.sampled_tokens:.3g} sampled tokens a "
        f"question to the network's {network.sampled_tokens:.3g}"
    )
    if low > 0:
        sentences.append(f"That is {gain:.0f} points (95 % interval {low:.0f} to {high:.0f}) above {against}.")
    elif high < 0:
        sentences.append(f"That is {-gain:.0f} points below {against}: the network is not worth its tokens here.")
    else:
        sentences.append(f"That cannot be told from {against} ({low:.0f} to {high:.0f} points).")
    single = totals["single-rl"]
    gain, low, high = (100 * value for value in difference(outcomes, NETWORK, single.method))
    verdict = "" if low > 0 or high < 0 else "; the difference is within chance"
    sentences.append(
        f"One model trained by the same reinforcement learning, with as many trainable parameters "
        f"({single.trainable_parameters:,}) and {single.extra['training_sampled_tokens']:,.0f} sampled tokens in "
        f"training to the network's {network.extra['training_sampled_tokens']:,.0f}, reaches "
        f"{percent(single.accuracy)} %{verdict}."
    )
    for row in totals.values():
        if row.extra.get("silenced_of") == NETWORK:
            _, low, _ = difference(outcomes, NETWORK, row.method)
            what = f"With {row.extra['silenced_name']} the network falls to {percent(row.accuracy)} %"
            if low <= 0:
                what = f"With {row.extra['silenced_name']} it still reaches {percent(row.accuracy)} %"
            carries = "that layer's messages carry the gain" if low > 0 else "that layer's messages are hardly used"
            sentences.append(f"{what}: {carries}.")
    sentences.append(
        "The backbone is tiny and was made for this kind of task: this shows how networks learn, not how well a large "
        "model would do. One seed is one draw; --seeds in the command below tells more."
    )
    return sentences


def next_steps(out: Path, page: Path) -> list[str]:
    return [
        f"Read what the nodes tell each other: {page}",
        f"See the picture: {out / 'results.png'}; the figures: {out / 'results.json'}; the runs: {out / 'runs'}",
        f"More seeds: neuromas compare {TASK} --difficulty {DIFFICULTY} --methods {METHODS} --silence-layers --seeds 3 "
        f"--out {out}",
        "Another task: neuromas compare navigate --methods direct,single-rl,untrained:1-1-1,neuromas:1-1-1",
        "A real backbone: neuromas train chain --backbone Qwen/Qwen3-0.6B",
    ]
