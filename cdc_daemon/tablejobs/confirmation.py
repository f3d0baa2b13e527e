"""From a first check to a verdict: checks a mismatch again until it stands still, then counts and repairs it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

import structlog

from cdc_daemon.model.document_operation import Operation, Outcome, Result
from cdc_daemon.model.signal import Key, Scope, Signal
from cdc_daemon.pipeline.handover import BackgroundSink, hand_over
from cdc_daemon.search.documents import fetch_documents
from cdc_daemon.search.engine import DocumentName
from cdc_daemon.tablejobs.comparison import Comparison
from cdc_daemon.tablejobs.findings import Mismatch, MismatchCounts, MismatchKind

log = structlog.get_logger(__name__)

ROUNDS = 5
"""Times that a mismatch is checked, each time after the changes in flight have passed."""

AT_ONCE = 500
"""Keys checked together."""

_REMOVALS = 3

PATIENCE = 120.0
"""Maximum seconds to wait for changes in flight."""

_CHECK_INTERVAL = 0.05


class WriteBarrier(Protocol):
    """ServerWaits for changes in flight."""

    async def wait(self, keys: Sequence[Key]) -> bool:
        """Return when all changes before this call, and all known ones of these keys, are written; False if not."""
        ...


class TailProgress(Protocol):
    """The tail, as far as it can be waited for."""

    async def wait_passed(self, seconds: float) -> None:
        """Return when everything that was in the log `seconds` after this call is acknowledged."""
        ...


class DirectWriter(Protocol):
    """Writes documents by their versions."""

    async def write(self, operations: Sequence[Operation]) -> list[Result]:
        """Write documents and return a result for each, in order."""
        ...


class MismatchConfirmation:
    """Judges mismatches of one object type, and with `repair` has them repaired.

    Repairs go through the pipeline as any change does: the row is read once more, and its document written at the
    version of that read. Only a document that cannot belong to any row is deleted directly, as it has no key to signal.
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
        self._is_dead_letter = is_dead_letter

    async def confirm(self, suspects: Mapping[Key, Mismatch], kinds: Container[MismatchKind]) -> None:
        """Check mismatches again; count and repair those of these kinds that persist. Raises what checking raises.

        Each direction is responsible for its own kinds, so that nothing is counted twice.
        """
        open_suspects = {key: each for key, each in suspects.items() if each.kind in kinds}
        for _ in range(ROUNDS):
            if not open_suspects:
                return
            if not await self._barrier.wait(list(open_suspects)):
                break
            looked, unreadable = await self._look(list(open_suspects))
            self._counts.add(unreadable=len(unreadable))
            seen = {key: each for key, each in looked.items() if each.kind in kinds}
            for key in [key for key in seen if self._is_dead_letter(key)]:
                del seen[key]
                self._counts.add(unreadable=1)
            stands = {key: each for key, each in seen.items() if each.persists(open_suspects.get(key))}
            self._counts.add_mismatches(stands.values())
            if stands and self._repair:
                await self._mend(stands)
            open_suspects = {key: each for key, each in seen.items() if key not in stands}
        self._counts.add(unsettled=len(open_suspects))
        if self._repair:
            # Reading and writing them once more does no harm, and leaves nothing in doubt.
            await self._signal(list(open_suspects))

    async def confirm_orphans(self, orphans: Sequence[Mismatch]) -> None:
        """Check documents again that cannot belong to any row; count those that still exist, and delete them."""
        left = await self._still_there(orphans)
        self._counts.add_mismatches(left)
        if left and self._repair:
            for _ in range(_REMOVALS):
                await self._remove(left)
                there = await self._still_there(left)
                names = {(each.id, each.routing) for each in there}
                self._counts.add_repaired(each for each in left if (each.id, each.routing) not in names)
                left = there
                if not left:
                    break

    async def _look(self, keys: Sequence[Key]) -> tuple[dict[Key, Mismatch], set[Key]]:
        """Return the current mismatches, and the keys of rows that no document can show now."""
        seen: dict[Key, Mismatch] = {}
        unreadable: set[Key] = set()
        for start in range(0, len(keys), AT_ONCE):
            result = await self._comparison.compare(keys[start : start + AT_ONCE])
            seen.update(result.mismatches)
            unreadable.update(result.unreadable)
        return seen, unreadable

    async def _mend(self, stands: Mapping[Key, Mismatch]) -> None:
        keys = list(stands)
        await self._signal(keys)
        left, unreadable = await self._look(keys)
        self._counts.add_repaired(each for key, each in stands.items() if key not in left and key not in unreadable)
        for mismatch in list(left.values())[:5]:
            log.warning("reconcile.not_repaired", index=self._alias, id=mismatch.id, kind=mismatch.kind.value)

    async def _signal(self, keys: Sequence[Key]) -> None:
        """Signal keys as for any change, and wait until they are written."""
        signals = [Signal(key.table, key.partition_key, Scope.ROW, key.clustering or ()) for key in keys]
        await hand_over(self._sink.submit_background, signals, alias=self._alias)

    async def _still_there(self, orphans: Sequence[Mismatch]) -> list[Mismatch]:
        names = [DocumentName(self._index, each.id, each.routing) for each in orphans]
        found = await fetch_documents(self._comparison.engine, names, source=False)
        return [
            each._replace(version=document.version)
            for each, document in zip(orphans, found, strict=True)
            if document is not None
        ]

    async def _remove(self, orphans: Sequence[Mismatch]) -> None:
        now = time.monotonic()
        operations = [
            Operation(self._alias, each.id, (each.version or 0) + 1, None, now, each.routing) for each in orphans
        ]
        results = await self._writer.write(operations)
        for operation, result in zip(operations, results, strict=True):
            if result.outcome is not Outcome.DELETED:
                log.warning("reconcile.not_removed", index=self._alias, id=operation.id, reason=result.reason)


class LogBarrier:
    """ServerWaits for the tail to pass, and for keys from other sources.

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
        """Return when all changes before this call, and all known ones of these keys, are written; False if not."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._pause + self._patience):
                await self._tail.wait_passed(self._pause)
                for key in keys:
                    while key in self._pending:  # noqa: ASYNC110 -- one check is cheaper than an event per key
                        await asyncio.sleep(_CHECK_INTERVAL)
                return True
        return False
