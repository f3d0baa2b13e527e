"""The part that watches the daemon's own database: whether it is in place, and what it contains."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import structlog

from cdc_daemon.app.part import Part
from cdc_daemon.model.errors import StateLostError, StoreError
from cdc_daemon.sources.dead_letters.reporting import DeadLetterLog
from cdc_daemon.store import Store
from cdc_daemon.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

COUNT_SECONDS = 2.0
"""Seconds between two counts."""

VERIFY_SECONDS = 600.0
"""Seconds between two reads of the whole file, which find damaged pages. The file is also read whole at the start."""

_SAID_AGAIN = 60.0
"""Seconds between repeated log messages that the state is lost."""


class StorePart(Part):
    """Counts dead letters and open jobs, logs new dead letters, and notices a lost or damaged state.

    It runs apart from the daemon's beat: a slow disk must not look like a stuck loop. `lost` is the error while the
    state is lost. `counted` is called with the counts.
    """

    name = "store"

    def __init__(self, store: Store, metrics: Metrics, *, counted: Callable[..., None]) -> None:
        self.store = store
        self.lost: StateLostError | None = None
        self._metrics = metrics
        self._counted = counted
        self._letter_log = DeadLetterLog()
        store.dead_letters.on_new = self._letter_log.note

    @classmethod
    @contextmanager
    def open(cls, directory: Path, metrics: Metrics, *, counted: Callable[..., None]) -> Iterator[Self]:
        """Open the store for a block. Raises `StoreError`."""
        store = Store(directory)
        try:
            part = cls(store, metrics, counted=counted)
            try:
                yield part
            finally:
                part._letter_log.flush(at_once=True)
        finally:
            store.close()

    async def run(self) -> None:
        """Check and count every `COUNT_SECONDS`; look for damage every `VERIFY_SECONDS`."""
        verified = time.monotonic()
        while True:
            due = time.monotonic() - verified >= VERIFY_SECONDS
            await self._check(self.store.verify if due else self.store.check)
            verified = time.monotonic() if due else verified
            with suppress(StoreError):
                counts = await asyncio.to_thread(_count, self.store)
                self._counted(**counts)
                self._metrics.dead_letters_kept.set(counts["dead_letters"])
                self._metrics.open_jobs.set(counts["open_jobs"])
            self._letter_log.flush()
            await asyncio.sleep(COUNT_SECONDS)

    def status(self) -> Mapping[str, Any]:
        """Return why the state is lost, if it is."""
        return {"state_lost": None if self.lost is None else str(self.lost)}

    async def _check(self, check: Callable[[], None]) -> None:
        """Check that the state directory exists: transactions would fail too, but there may be none."""
        try:
            await asyncio.to_thread(check)
        except StateLostError as error:
            self.lost = error
            log.error("state.lost", error=error, every=_SAID_AGAIN)  # noqa: TRY400 -- the error tells its place
        else:
            self.lost = None
        self._metrics.state_lost.set(self.lost is not None)


def _count(store: Store) -> dict[str, float]:
    jobs = (store.sync_jobs.count_open(), store.range_jobs.count_open())
    return {
        "dead_letters": store.dead_letters.count(),
        "open_jobs": sum(opened for opened, _ in jobs),
        "newest_job": max(newest for _, newest in jobs) / 1e6,
    }
