"""The command `neuromas inspect`. Nothing heavy is imported for --help."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from neuromas_env.errors import UsageError
from neuromas_env.show_nodes import FILE
from neuromas_env.text import visible

from .run import Run

if TYPE_CHECKING:
    from rich.table import Table

    from .specialisation import Snapshot


def inspect(
    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
    questions: int = 200,
    checkpoint: Annotated[str, tyro.conf.arg(metavar="best|last|N")] = "best",
) -> None:
    """Tell what each node of a trained network says, and what each edge does to the answer.

    The network answers validation questions greedily, as it is and with one edge after the other silenced or carrying
    the message of another question. The checkpoints that the run keeps are looked at too, on fewer questions. Writes
    RUN/nodes.json, which `neuromas show RUN` draws.

    Args:
        run: The folder of a training run.
        questions: How many validation questions to look at, at least 2.
        checkpoint: Which network: the best by validation, the last, or that of an update.
    """
    if questions < 2:
        raise UsageError(
            f"--questions is {questions}; at least 2 are needed, since messages are exchanged between them"
        )
    if checkpoint not in ("best", "last") and not checkpoint.isdecimal():
        raise UsageError(f"--checkpoint is {checkpoint!r}; best, last, or the number of an update is accepted")
    trained = Run(run)
    trained.checkpoint("last")  # before torch is loaded

    import torch
    from rich.console import Console

    from .files import write_json
    from .specialisation import specialisation

    torch.set_num_threads(trained.config.threads)
    which = int(checkpoint) if checkpoint.isdecimal() else checkpoint
    with Console(stderr=True).status("asking"):  # large networks have many edges
        learnt = specialisation(trained, questions, which=which)
    write_json(run / FILE, learnt.to_json())
    now, console = learnt.now, Console(highlight=False)
    console.print(
        f"{learnt.task}, network {learnt.topology}, update {now.update}: accuracy {now.accuracy:.3f} on "
        f"{now.questions} validation questions\n",
        markup=False,
    )
    console.print(node_table(now), "")
    if now.edges:
        console.print(edge_table(now), "")
        console.print(
            "silenced, swapped: how many answers become others where the edge carries nothing, or what its sender said "
            "to another question; accuracy: what that adds to it\n"
        )
    console.print(str(run / FILE), markup=False, soft_wrap=True)


def node_table(snapshot: Snapshot) -> Table:
    """A row a node, with a line for each of its types of message."""
    from rich.text import Text

    table = _table("node", "says", "empty", "tokens", "right")
    for node in snapshot.nodes:
        types = "\n".join(f"{share:6.1%}  {visible(text)}" for text, share in node.types) or "nothing"
        table.add_row(
            Text(visible(node.node)), Text(types), f"{node.empty:.0%}", f"{node.tokens:.1f}", f"{node.right:.0%}"
        )
    return table


def edge_table(snapshot: Snapshot, most: int = 30) -> Table:
    """A row an edge, the most influential first."""
    from rich.text import Text

    table = _table("edge", "silenced", "accuracy", "swapped", "accuracy")
    for edge in snapshot.strongest_edges[:most]:
        table.add_row(
            Text(visible(f"{edge.sender} → {edge.receiver}")),
            f"{edge.silenced_changes:.0%}",
            f"{edge.silenced_accuracy:+.3f}",
            f"{edge.swapped_changes:.0%}",
            f"{edge.swapped_accuracy:+.3f}",
        )
    if len(snapshot.edges) > most:
        table.add_row(Text(f"and {len(snapshot.edges) - most} more"))
    return table


def _table(first: str, second: str, *others: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(first, overflow="fold")
    table.add_column(second, justify="left" if second == "says" else "right", overflow="fold")
    for name in others:
        table.add_column(name, justify="right")
    return table
