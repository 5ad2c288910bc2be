"""Where programs cannot be locked up they are not run, and what is missing is said."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from neuromas_env.errors import UsageError
from neuromas_env.sandbox import Check, Isolation, Limits, Verdict, isolation, judge, judging, mechanisms

needs_lock = pytest.mark.skipif(not isolation().sufficient, reason=f"programs cannot be locked up: {isolation()}")

UNLOCKED = Isolation(0, False, None)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (UNLOCKED, "only resource limits"),
        (Isolation(7, False, None), "Landlock 7"),
        (Isolation(0, True, None), "seccomp"),
        (Isolation(0, False, "/usr/bin/bwrap"), "bubblewrap"),
    ],
)
def test_programs_are_refused_where_a_part_of_the_lock_is_missing(found, words, monkeypatch):
    monkeypatch.setattr(judging, "isolation", lambda: found)
    checks = [Check("def solve(): return 1", "", "assert solve() == 1", "solve")]
    with pytest.raises(UsageError, match=rf"pip install pyseccomp.* there is {words} here") as refusal:
        judge(checks)
    assert "\n" not in str(refusal.value)
    if found == UNLOCKED:
        assert judge(checks, force=True)[0].passed
        judging.require_isolation(force=True)


@needs_lock
@pytest.mark.parametrize("missing", ["landlock", "syscalls"])
def test_programs_are_refused_where_the_lock_does_not_hold(missing, monkeypatch):
    whole = judging.run_check

    def with_a_hole(check: Check, limits: Limits, found: Isolation, unwanted: Any = None) -> Verdict:
        hole = Isolation(0, True, None) if missing == "landlock" else Isolation(found.landlock, False, None)
        return whole(check, limits, hole, unwanted)

    judging._try_the_lock.cache_clear()
    monkeypatch.setattr(judging, "run_check", with_a_hole)
    can = "read a file, write a file" if missing == "landlock" else ".*open a socket"
    with pytest.raises(UsageError, match=rf"does not hold here: failed, AssertionError: it can {can}"):
        judging.require_isolation()
    monkeypatch.undo()
    judging.require_isolation()  # a refusal is not remembered


def test_other_systems_import_the_package_and_are_refused(monkeypatch):
    monkeypatch.setattr(mechanisms.sys, "platform", "darwin")
    mechanisms.isolation.cache_clear()
    try:
        assert isolation() == UNLOCKED
        assert str(isolation()) == "only resource limits"
        with pytest.raises(UsageError, match="run only where Linux locks them up"):
            judge([])
    finally:
        monkeypatch.undo()
        mechanisms.isolation.cache_clear()


def test_a_missing_package_is_no_lock(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyseccomp", None)
    mechanisms.seccomp_filter.cache_clear()
    try:
        assert mechanisms._can_filter() is False
    finally:
        monkeypatch.undo()
        mechanisms.seccomp_filter.cache_clear()


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, neuromas_env.sandbox; print('pyseccomp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"False\n"
