"""The daemon's event loop: uvloop where it is installed, asyncio's own otherwise."""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
from collections.abc import Callable, Coroutine
from typing import Any

_FASTER = "uvloop"
"""The package of the extra `speed`. Nothing but the processor time depends on it."""


def run(work: Coroutine[Any, Any, int]) -> int:
    """Run a coroutine on a new event loop, and return its result."""
    with asyncio.Runner(loop_factory=_factory()) as runner:
        return runner.run(work)


def describe() -> str:
    """Return the name of the event loop that `run` uses, for a bug report."""
    return "asyncio" if _factory() is None else f"{_FASTER} {importlib.metadata.version(_FASTER)}"


def _factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if importlib.util.find_spec(_FASTER) is None:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module(_FASTER).new_event_loop
    return factory
