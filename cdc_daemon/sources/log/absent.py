"""Replace the tail if the commit log cannot be reached."""

from __future__ import annotations

import asyncio

from cdc_daemon.sources.log.position import START, Position
from cdc_daemon.sources.log.tracked import Backlog


class NoTail:
    """Reads nothing and only waits for the stop, as a tail does between changes."""

    def __init__(self) -> None:
        self._stop = asyncio.Event()

    @property
    def position(self) -> Position:
        """The start position: nothing was ever read."""
        return START

    def backlog(self) -> Backlog:
        """Return an empty backlog."""
        return Backlog(0, 0, None)

    async def wait_passed(self, seconds: float) -> None:
        """Wait for `seconds`: there is no log position to wait for."""
        await asyncio.sleep(seconds)

    async def run(self) -> None:
        """Wait until `stop` is called."""
        await self._stop.wait()

    async def stop(self, deadline: float = 10.0, *, held: bool = False) -> None:  # noqa: ARG002 -- as a tail's
        """End `run`."""
        self._stop.set()
