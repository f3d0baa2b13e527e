"""Confirmation of mismatches: each is checked again until it no longer changes, then counted and repaired."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

import structlog

from cdc_daemon.model.document_operation import Operation, Outcome, RemovalMark, Result
from cdc_daemon.model.signal import Key, Scope, Signal
from cdc_daemon.pipeline.handover import BackgroundSink, hand_over
from cdc_daemon.search.documents import fetch_documents
from cdc_daemon.search.engine import DocumentName
from cdc_daemon.search.removal_marks import is_marked
from cdc_daemon.tablejobs.comparison import Comparison
from cdc_daemon.tablejobs.findings import Mismatch, MismatchCounts, MismatchKind

log = structlog.get_logger(__name__)

ROUNDS = 5
"""Maximum checks of a mismatch, each after the in-flight changes are written."""

AT_ONCE = 500
"""Keys per check."""

_DELETE_ATTEMPTS = 3

PATIENCE = 120.0
"""Maximum seconds to wait for in-flight changes."""

_CHECK_INTERVAL = 0.05


class WriteBarrier(Protocol):
    """Waits for in-flight changes."""

    async def wait(self, keys: Sequence[Key]) -> bool:
        """Wait until all earlier changes, and pending ones of these keys, are written. Return False on a timeout."""
        ...


class TailProgress(Protocol):
    """The acknowledged position of the tail."""

    async def wait_passed(self, seconds: float) -> None:
        """Wait until every change that is in the log `seconds` after this call is acknowledged."""
        ...


class DirectWriter(Protocol):
    """Writes documents by their versions."""

    async def write(self, operations: Sequence[Operation]) -> list[Result]:
        """Write documents and return a result for each, in order."""
        ...


class MismatchConfirmation:
    """Confirms mismatches of one object type, and repairs them with `repair`.

    Repairs go through the pipeline like any change: the row is read again, and its document is written with the version
    of that read. Only an orphan, a document that cannot belong to a row, is deleted directly: it has no key to signal.
    With `mark` it is marked instead.
    """

    def __init__(
        self,
        comparison: Comparison,
        barrier: WriteBarrier,
        counts: MismatchCounts,
        *,
        sink: BackgroundSink,
        writer: DirectWriter,
        alias: str,
        repair: bool,
        index: str | None = None,
        mark: RemovalMark | None = None,
        is_dead_letter: Callable[[Key], bool] = lambda _key: False,
    ) -> None:
        self._comparison = comparison
        self._barrier = barrier
        self._counts = counts
        self._sink = sink
        self._writer = writer
        self._alias = alias
        self._repair = repair
        self._index = index or alias
        self._mark = mark
        self._is_dead_letter = is_dead_letter

    async def confirm(self, suspects: Mapping[Key, Mismatch], kinds: Container[MismatchKind]) -> None:
        """Check mismatches again; count and repair those of these kinds that persist. Raises what `compare` raises.

        Each direction of the comparison counts only its own kinds, so that nothing is counted twice.
        """
        open_suspects = {key: each for key, each in suspects.items() if each.kind in kinds}
        for _ in range(ROUNDS):
            if not open_suspects:
                return
            if not await self._barrier.wait(list(open_suspects)):
                break
            found, unreadable = await self._compare(list(open_suspects))
            self._counts.add(unreadable=len(unreadable))
            seen = {key: each for key, each in found.items() if each.kind in kinds}
            for key in [key for key in seen if self._is_dead_letter(key)]:
                del seen[key]
                self._counts.add(unreadable=1)
            confirmed = {key: each for key, each in seen.items() if each.persists(open_suspects.get(key))}
            self._counts.add_mismatches(confirmed.values())
            if confirmed and self._repair:
                await self._repair_rows(confirmed)
            open_suspects = {key: each for key, each in seen.items() if key not in confirmed}
        self._counts.add(unsettled=len(open_suspects))
        if self._repair:
            # These rows are read and written again, so that no document stays unjudged.
            await self._signal(list(open_suspects))

    async def confirm_orphans(self, orphans: Sequence[Mismatch]) -> None:
        """Check orphans again; count those that still exist, and delete them with `repair`."""
        remaining = await self._still_existing(orphans)
        self._counts.add_mismatches(remaining)
        if remaining and self._repair:
            for _ in range(_DELETE_ATTEMPTS):
                await self._remove(remaining)
                existing = await self._still_existing(remaining)
                names = {(each.id, each.routing) for each in existing}
                self._counts.add_repaired(each for each in remaining if (each.id, each.routing) not in names)
                remaining = existing
                if not remaining:
                    break

    async def _compare(self, keys: Sequence[Key]) -> tuple[dict[Key, Mismatch], set[Key]]:
        """Return the current mismatches, and the keys of rows from which no document can be built."""
        seen: dict[Key, Mismatch] = {}
        unreadable: set[Key] = set()
        for start in range(0, len(keys), AT_ONCE):
            result = await self._comparison.compare(keys[start : start + AT_ONCE])
            seen.update(result.mismatches)
            unreadable.update(result.unreadable)
        return seen, unreadable

    async def _repair_rows(self, confirmed: Mapping[Key, Mismatch]) -> None:
        keys = list(confirmed)
        await self._signal(keys)
        remaining, unreadable = await self._compare(keys)
        self._counts.add_repaired(
            each for key, each in confirmed.items() if key not in remaining and key not in unreadable
        )
        for mismatch in list(remaining.values())[:5]:
            log.warning("reconcile.not_repaired", index=self._alias, id=mismatch.id, kind=mismatch.kind.value)

    async def _signal(self, keys: Sequence[Key]) -> None:
        """Submit keys as if their rows had changed, and wait until they are written."""
        signals = [Signal(key.table, key.partition_key, Scope.ROW, key.clustering or ()) for key in keys]
        await hand_over(self._sink.submit_background, signals, alias=self._alias)

    async def _still_existing(self, orphans: Sequence[Mismatch]) -> list[Mismatch]:
        names = [DocumentName(self._index, each.id, each.routing) for each in orphans]
        source = False if self._mark is None else [self._mark.field]
        found = await fetch_documents(self._comparison.engine, names, source=source)
        return [
            each._replace(version=document.version)
            for each, document in zip(orphans, found, strict=True)
            if document is not None and not is_marked(document, self._mark)
        ]

    async def _remove(self, orphans: Sequence[Mismatch]) -> None:
        now = time.monotonic()
        operations = [
            Operation(self._alias, each.id, (each.version or 0) + 1, None, now, each.routing, mark=self._mark)
            for each in orphans
        ]
        results = await self._writer.write(operations)
        for operation, result in zip(operations, results, strict=True):
            if result.outcome not in {Outcome.DELETED, Outcome.MARKED}:
                log.warning("reconcile.not_removed", index=self._alias, id=operation.id, reason=result.reason)


class LogBarrier:
    """Waits until the tail has passed the end of the log, and for pending keys from other sources.

    `pause` is the maximum seconds between the acknowledgement of a write and its appearance in the log.
    """

    def __init__(
        self, tail: TailProgress, pending: Container[Key], *, pause: float, patience: float = PATIENCE
    ) -> None:
        self._tail = tail
        self._pending = pending
        self._pause = pause
        self._patience = patience

    async def wait(self, keys: Sequence[Key]) -> bool:
        """Wait until all earlier changes, and pending ones of these keys, are written. Return False on a timeout."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._pause + self._patience):
                await self._tail.wait_passed(self._pause)
                for key in keys:
                    while key in self._pending:  # noqa: ASYNC110 -- one check is cheaper than an event per key
                        await asyncio.sleep(_CHECK_INTERVAL)
                return True
        return False
