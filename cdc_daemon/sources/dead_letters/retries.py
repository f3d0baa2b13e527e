"""Retries dead letters on a schedule, as the cause of a failure may have been fixed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from cdc_daemon.sources.dead_letters.replay import ReplayedLetter, ReplayOutcome
from cdc_daemon.store.dead_letters import DeadLetter

INTERVAL = 60.0
"""Seconds between two checks for due letters."""

LONGEST_PAUSE = 86_400.0
"""Longest time in seconds between a letter's last failure and its next retry."""

AT_ONCE = 100
"""Letters replayed together. Their payloads, up to 16 MiB each, are in memory at the same time."""


class RetryStore(Protocol):
    """The durable dead letters with their failures; methods block."""

    def due(self, now: int, *, pause: int, longest: int, limit: int) -> Sequence[DeadLetter]:
        """Return letters that are due for a retry, oldest first; all arguments except `limit` are in microseconds."""
        ...

    def failed_again(self, letter: DeadLetter, reason: str, detail: Mapping[str, Any]) -> None:
        """Count a failure of a letter, unless it was deleted or counted since it was read."""
        ...


class LetterReplayer(Protocol):
    """Replays dead letters."""

    async def replay_letters(self, letters: Sequence[DeadLetter]) -> Sequence[ReplayedLetter]:
        """Replay letters; wait for a limited time. Raises `StoreError`."""
        ...


class DeadLetterRetries:
    """Retries letters, each after a pause that doubles with every failure.

    A corrected mapping, a raised field limit or a newly known table lets a retry succeed without an operator's request.
    Letters that fail stay, with their new reason. A letter times out while the servers answer if Elasticsearch fails on
    its document each time. It is then paused like a failed one, so that it does not block other letters.

    `pause` is in seconds; `ready` returns whether a replay makes sense now; `now` returns seconds since epoch.
    """

    def __init__(
        self,
        letters: RetryStore,
        replayer: LetterReplayer,
        *,
        pause: float,
        ready: Callable[[], bool],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._letters = letters
        self._replayer = replayer
        self._pause = pause
        self._ready = ready
        self._now = now

    async def turn(self) -> None:
        """Replay the due letters. Raises `StoreError`."""
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
            replayed = await self._replayer.replay_letters(due)
            waiting = {each.id: each for each in replayed if each.outcome is ReplayOutcome.WAITING}
            if not waiting:
                continue
            if self._ready():
                servers_answer = len(waiting) < len(replayed)
                for letter in due:
                    found = waiting.get(letter.id or 0)
                    if found is not None and (servers_answer or found.reason != "cassandra"):
                        await asyncio.to_thread(self._letters.failed_again, letter, letter.reason, letter.detail)
            return  # other due letters may time out too; the next turn may not
