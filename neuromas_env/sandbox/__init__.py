"""Judging programs that language models wrote, without trusting them.

A check runs in fresh processes. The *program* process runs the untrusted source, locked down, and answers calls over a
pipe. The *tester* process runs the benchmark's own test, in which the functions of the program are proxies for such
calls; it alone decides, and reports on a pipe of which the program never has a descriptor. A program can thus choose
what its functions return, and nothing else: it shares no interpreter with the test that judges it. A *supervisor*
process starts both, ends them at the time limit, and removes what they leave.

    verdicts = judge([Check(candidate=source, setup="", test="assert add(1, 2) == 3", entry_point="add")])

`isolation` says how a program can be locked up on this machine; where that is not enough, `judge` refuses.

Arguments and results cross as copies of plain data (see `codec`): a test sees no change that a program makes to its
arguments in place. An object of a class of the program stays there; the test holds a handle on it.
"""

from __future__ import annotations

from .checks import STATUSES, Check, Limits, Verdict
from .judging import judge, require_isolation
from .mechanisms import Isolation, isolation

__all__ = ["STATUSES", "Check", "Isolation", "Limits", "Verdict", "isolation", "judge", "require_isolation"]
