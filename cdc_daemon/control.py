"""What an operator may do to a running daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from cdc_daemon.pipeline.gate import Gate
from cdc_daemon.store.dead_letters import DeadLetter, DeadLetters

log = structlog.get_logger(__name__)


class Control:
    """Holds the tail and lets it go on; shows what was set aside. A pause does not outlive the process."""

    def __init__(self, gate: Gate, dead_letters: DeadLetters) -> None:
        self._gate = gate
        self._dead_letters = dead_letters

    def pause(self) -> None:
        """Take nothing more from the commit log; requests for rows go on."""
        self._gate.close()
        log.warning("daemon.paused", hint="cdc_raw fills meanwhile: Cassandra rejects writes when it is full")

    def resume(self) -> None:
        """Follow the commit log again."""
        self._gate.open()
        log.info("daemon.resumed")

    async def dead_letters(self, limit: int) -> Sequence[DeadLetter]:
        """Return the newest dead letters, newest first."""
        return await asyncio.to_thread(lambda: list(self._dead_letters.list(limit=limit)))
