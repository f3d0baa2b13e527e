"""Signals that end a program of the sandbox in order."""

from __future__ import annotations

import signal


def heard(*numbers: signal.Signals) -> tuple[signal.Signals, ...]:
    """Return those of the signals that this process was not started to ignore, as `nohup` starts it for SIGHUP."""
    return tuple(number for number in numbers if signal.getsignal(number) != signal.SIG_IGN)
