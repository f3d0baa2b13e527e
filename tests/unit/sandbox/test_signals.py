"""Programs have the signals they need, however the shell has started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.signals import heard

pytestmark = pytest.mark.slow

_CHECKOUT = Path(__file__).parents[3]
_INTERRUPTING = (
    "tests/unit/cli/segment_tools/test_console.py::TestFollow::test_damage_that_is_durable_is_told_and_passed"
)
_IGNORING = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Replaces itself by another program, which ignores what `nohup … &` in a script lets it ignore."""


def test_what_was_ignored_at_the_start_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    ignored = {signal.SIGHUP: signal.SIG_IGN}
    monkeypatch.setattr(signal, "getsignal", lambda number: ignored.get(number, signal.SIG_DFL))
    assert heard(signal.SIGTERM, signal.SIGHUP) == (signal.SIGTERM,)
    ignored.clear()
    assert heard(signal.SIGTERM, signal.SIGHUP) == (signal.SIGTERM, signal.SIGHUP)


def test_tests_in_the_background_of_a_shell_can_interrupt_programs() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    asked = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", _INTERRUPTING]
    done = subprocess.run(
        [sys.executable, "-c", _IGNORING, *asked],
        cwd=_CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
