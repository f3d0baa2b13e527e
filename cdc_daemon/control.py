"""What an operator may do to a running daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from cdc_daemon.dead_letters.replay import Replay, Replayed, Replayer
from cdc_daemon.pipeline.gate import Gate
from cdc_daemon.store.dead_letters import DeadLetter, DeadLetters
from cdc_daemon.store.letter_filter import EVERYTHING, LetterFilter

log = structlog.get_logger(__name__)


class Control:
    """Holds the tail and lets it go on; shows what was set aside, replays and drops it.

    A pause does not outlive the process. `patience` is how many seconds a replay may take.
    """

    def __init__(self, gate: Gate, dead_letters: DeadLetters, replayer: Replayer, *, patience: float = 30.0) -> None:
        self._gate = gate
        self._dead_letters = dead_letters
        self._replayer = replayer
        self._patience = patience

    def pause(self) -> None:
        """Take nothing more from the commit log; requests for rows go on."""
        self._gate.close()
        log.warning("daemon.paused", hint="cdc_raw fills meanwhile: Cassandra rejects writes when it is full")

    def resume(self) -> None:
        """Follow the commit log again."""
        self._gate.open()
        log.info("daemon.resumed")

    async def dead_letters(self, limit: int, wanted: LetterFilter = EVERYTHING) -> Sequence[DeadLetter]:
        """Return the newest of the dead letters wanted, newest first."""
        return await asyncio.to_thread(lambda: list(self._dead_letters.list(wanted=wanted, limit=limit)))

    async def count_dead_letters(self, wanted: LetterFilter = EVERYTHING) -> int:
        """Return how many dead letters there are of those wanted."""
        return await asyncio.to_thread(self._dead_letters.count, wanted)

    async def replay(self, wanted: LetterFilter, limit: int) -> Replay:
        """Replay the oldest of the dead letters wanted."""
        return await self._replayer.replay(wanted, limit=limit, seconds=self._patience)

    async def replay_one(self, identity: int) -> Replayed | None:
        """Replay one dead letter; None when there is none of this id."""
        return await self._replayer.replay_one(identity, seconds=self._patience)

    async def drop_dead_letter(self, identity: int) -> bool:
        """Forget a dead letter; tell whether there was one of this id."""
        dropped = await asyncio.to_thread(self._dead_letters.remove, [identity])
        if dropped:
            log.info("dead_letters.dropped", id=identity)
        return bool(dropped)
