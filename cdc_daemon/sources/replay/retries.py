"""Dead letters that are tried again from time to time: what they failed on may be mended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from cdc_daemon.sources.replay.replay import Ending, Replayed
from cdc_daemon.store.dead_letters import DeadLetter

INTERVAL = 60.0
"""Seconds between two looks at what is due."""

LONGEST_PAUSE = 86_400.0
"""Seconds after its last failure at which a letter is tried again at the latest."""

AT_ONCE = 100
"""Letters replayed together: their bytes, up to 16 MiB each, are read with them."""


class Letters(Protocol):
    """The durable list of dead letters; methods block."""

    def due(self, now: int, *, pause: int, longest: int, limit: int) -> Sequence[DeadLetter]:
        """Return letters that may be tried again, oldest first; all but `limit` in microseconds."""
        ...

    def failed_again(self, letter: DeadLetter, reason: str, detail: Mapping[str, Any]) -> None:
        """Count a failure of a letter, unless it is gone or was counted since it was read."""
        ...


class Replaying(Protocol):
    """Has what letters speak of read and written again."""

    async def replay_letters(self, letters: Sequence[DeadLetter]) -> Sequence[Replayed]:
        """Replay letters, and wait for a while. Raises `StoreError`."""
        ...


class Retries:
    """Replays letters again, each after a pause that doubles with every failure.

    A mapping that was corrected, a field's limit that was raised, or a table that has become known since mends letters
    without anybody asking. Those that fail stay, with their new reason. One that comes to no end while the servers are
    there, as Elasticsearch fails on its document each time, waits as long as one that fails, so that it keeps no other
    from its turn. `pause` is in seconds; `ready` tells whether a
    replay makes sense at present; `now` tells seconds since epoch.
    """

    def __init__(
        self,
        letters: Letters,
        replaying: Replaying,
        *,
        pause: float,
        ready: Callable[[], bool],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._letters = letters
        self._replaying = replaying
        self._pause = pause
        self._ready = ready
        self._now = now

    async def turn(self) -> None:
        """Replay what is due. Raises `StoreError`."""
        while self._ready():
            due = await asyncio.to_thread(
                self._letters.due,
                int(self._now() * 1e6),
                pause=int(self._pause * 1e6),
                longest=int(max(self._pause, LONGEST_PAUSE) * 1e6),
                limit=AT_ONCE,
            )
            if not due:
                return
            replayed = await self._replaying.replay_letters(due)
            waiting = {each.id: each for each in replayed if each.ending is Ending.WAITING}
            if not waiting:
                continue
            if self._ready():
                servers_answer = len(waiting) < len(replayed)
                for letter in due:
                    found = waiting.get(letter.id or 0)
                    if found is not None and (servers_answer or found.reason != "cassandra"):
                        await asyncio.to_thread(self._letters.failed_again, letter, letter.reason, letter.detail)
            return  # the others that are due may meet the same: the next turn may not
