"""The status of the daemon and of the search engine, read a few times a second."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import orjson

from sandbox.demo.errors import DemoError
from sandbox.demo.stage import Stage

_EVERY = 0.25
_COUNT_EVERY = 4
_POLL = 0.05
_STILL_READINGS = 5
_STILL_EVERY = 0.2


class Watch:
    """Watches the daemon: `status` is what it answered last, None while it does not answer.

    `documents` is how many documents the search engine counts. A daemon that ends though nobody killed it ends
    the watch with a `DemoError`.
    """

    def __init__(self, stage: Stage, http: aiohttp.ClientSession) -> None:
        self._stage = stage
        self._http = http
        self.killed = False
        self.status: dict[str, Any] | None = None
        self.documents: int | None = None

    @property
    def is_running(self) -> bool:
        """Whether the daemon reports that it is running."""
        return self.status is not None and self.status.get("state") == "running"

    async def run(self) -> None:
        """Watch until cancelled."""
        reading = 0
        while True:
            self.check_alive()
            await self.read_status()
            if reading % _COUNT_EVERY == 0:
                counted = await self._get(f"{self._stage.index_url}/_count")
                self.documents = None if counted is None else counted.get("count")
            reading += 1
            await asyncio.sleep(_EVERY)

    def check_alive(self) -> None:
        """Raise `DemoError` if the daemon ended unexpectedly."""
        if not self.killed and not self._stage.daemon_is_alive:
            raise DemoError("expected the daemon to run until it is killed, found it ended")

    async def read_status(self) -> dict[str, Any] | None:
        """Ask the daemon now."""
        self.status = await self._get(f"{self._stage.daemon_url}/status")
        return self.status

    async def wait_running(self) -> None:
        """Return when the daemon runs. Raises `DemoError` when it ends instead."""
        while not self.is_running:
            self.check_alive()
            await asyncio.sleep(_POLL)
            await self.read_status()

    async def wait_drained(self) -> None:
        """Return when for a second nothing was pending, no dependent to refresh, and the checkpoint stood still."""
        seen: list[str] = []
        while len(seen) < _STILL_READINGS:
            self.check_alive()
            status = await self.read_status()
            position = _drained_position(status)
            if position is None or (seen and seen[-1] != position):
                seen.clear()
            if position is not None:
                seen.append(position)
            await asyncio.sleep(_STILL_EVERY)

    async def _get(self, url: str) -> dict[str, Any] | None:
        try:
            async with self._http.get(url) as answer:
                body = orjson.loads(await answer.read())
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return None
        return body if answer.status == 200 and isinstance(body, dict) else None


def _drained_position(status: dict[str, Any] | None) -> str | None:
    """Return the checkpoint's position when nothing is pending, to be refreshed, or behind; else None."""
    if status is None or status.get("state") != "running":
        return None
    busy = status["pending"] or status["dependents_waiting"] or status["backlog"]["bytes"]
    return None if busy else str(status["position"])
