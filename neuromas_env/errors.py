"""The exceptions of neuromas. Each message names what is wrong and what is accepted.

`UsageError` and its subclasses mean that what a user gave is wrong; the command line shows them as one line and ends
with exit code 2. Every other exception is a defect of the program and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class NeuromasError(Exception):
    """The base of all errors that neuromas raises on purpose."""


class UsageError(NeuromasError):
    """Something given by the user (a name, an option, a file, a folder) cannot be used."""


class TopologyError(UsageError, ValueError):
    """A graph that is no network: the message names the node or the edge."""


class CheckpointError(UsageError):
    """A saved network or run that is damaged, or made for another topology or backbone."""


class BackboneError(UsageError):
    """A language model that cannot be found, reached or used."""


class InvalidMessageError(NeuromasError, ValueError):
    """A message that needed repair, in an environment made with `on_invalid="raise"`."""


class EpisodeOverError(NeuromasError, RuntimeError):
    """A step was asked of an environment that has not been reset or has ended."""


class TranscriptError(UsageError, ValueError):
    """A transcript that cannot be read, or whose replay differs from the record."""


class DataFileError(UsageError, ValueError):
    """A data file that cannot be read or does not follow its format; the message names file, line and field."""


class UnknownNameError(UsageError, KeyError):
    """A name that is not there. The message lists what exists, and close matches first."""

    def __init__(self, kind: str, name: object, known: Iterable[str]) -> None:
        self.name, self.known = name, tuple(known)
        close = difflib.get_close_matches(str(name), self.known, n=2, cutoff=0.6)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        shown = ", ".join(self.known[:20]) + (", …" if len(self.known) > 20 else "")
        self.message = f"unknown {kind} {str(name)[:100]!r}{hint} (known: {shown or 'none'})"
        super().__init__(self.message)

    def __str__(self) -> str:  # KeyError would show the representation of the message, in quotes
        return self.message
