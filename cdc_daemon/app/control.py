"""An operator's actions on a running daemon."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from cdc_daemon.config import Settings
from cdc_daemon.config.redaction import redact
from cdc_daemon.pipeline.gate import Gate, Pause
from cdc_daemon.sources.dead_letters.replay import ReplayedLetter, Replayer, ReplayResult
from cdc_daemon.store import Store
from cdc_daemon.store.dead_letter_filter import EVERYTHING, DeadLetterFilter
from cdc_daemon.store.dead_letters import DeadLetter, Facet
from cdc_daemon.store.sync_jobs import SyncJob

log = structlog.get_logger(__name__)


class Control:
    """Pauses and resumes the tail; lists, replays and deletes dead letters; lists jobs.

    A pause is kept in memory: it ends with the process. A replay may take as long as a request for rows.
    """

    def __init__(self, gate: Gate, store: Store, replayer: Replayer, settings: Settings) -> None:
        self._gate = gate
        self._store = store
        self._dead_letters = store.dead_letters
        self._replayer = replayer
        self._timeout = settings.http.sync_timeout
        self._settings = settings

    def pause(self, by: str) -> Pause:
        """Stop reading changes from the commit log; requests for rows go on.

        Return who paused it and when. If it is already paused, return the first pause.
        """
        self._gate.close(Pause(by, time.time()))
        pause = self._gate.pause
        assert pause is not None
        hint = "cdc_raw fills meanwhile: Cassandra rejects writes when it is full"
        log.warning("daemon.paused", by=by, first_by=pause.by, hint=hint)
        return pause

    def resume(self, by: str) -> None:
        """Resume reading the commit log."""
        self._gate.open()
        log.info("daemon.resumed", by=by)

    async def dead_letters(self, limit: int, wanted: DeadLetterFilter = EVERYTHING) -> Sequence[DeadLetter]:
        """Return the newest matching dead letters, newest first."""
        return await asyncio.to_thread(lambda: list(self._dead_letters.list(wanted=wanted, limit=limit)))

    async def count_dead_letters(self, wanted: DeadLetterFilter = EVERYTHING) -> int:
        """Return the number of matching dead letters."""
        return await asyncio.to_thread(self._dead_letters.count, wanted)

    async def replay(self, wanted: DeadLetterFilter, limit: int) -> ReplayResult:
        """Replay the oldest matching dead letters."""
        return await self._replayer.replay(wanted, limit=limit, seconds=self._timeout)

    async def replay_one(self, identity: int) -> ReplayedLetter | None:
        """Replay one dead letter; return None if there is none with this id."""
        return await self._replayer.replay_one(identity, seconds=self._timeout)

    async def drop_dead_letter(self, identity: int) -> bool:
        """Delete a dead letter; return whether there was one with this id."""
        dropped = await asyncio.to_thread(self._dead_letters.remove, [identity])
        if dropped:
            log.info("dead_letters.dropped", id=identity)
        return bool(dropped)

    async def count_dead_letters_by(self, wanted: DeadLetterFilter, column: Facet) -> Mapping[str, int]:
        """Return the number of matching dead letters by a column's value, most frequent first."""
        return await asyncio.to_thread(self._dead_letters.count_by, column, wanted)

    async def drop_dead_letters(self, wanted: DeadLetterFilter) -> int:
        """Delete the matching dead letters; return how many there were. Elasticsearch is not changed."""
        dropped = await asyncio.to_thread(self._dead_letters.remove_matching, wanted)
        if dropped:
            log.info("dead_letters.dropped", count=dropped, **wanted.conditions())
        return dropped

    async def sync_jobs(self, limit: int) -> Sequence[SyncJob]:
        """Return the newest asynchronous requests, newest first."""
        return await asyncio.to_thread(lambda: list(self._store.sync_jobs.newest(limit=limit)))

    def configuration(self) -> Mapping[str, Any]:
        """Return the daemon's configuration without secrets."""
        redacted = redact(self._settings.redacted())
        assert isinstance(redacted, dict)
        return redacted
