"""Reconcile: compares the rows of ranges with their documents, then the documents with their rows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from weakref import WeakKeyDictionary

from cdc_daemon.cassandra.ring import TokenRange
from cdc_daemon.model.reading import Reading
from cdc_daemon.model.signal import Key, TableName
from cdc_daemon.store.range_jobs import DOCUMENTS, JobRange
from cdc_daemon.tablejobs.backfill import ScanFactory
from cdc_daemon.tablejobs.confirmation import AT_ONCE
from cdc_daemon.tablejobs.document_ids import IdSums
from cdc_daemon.tablejobs.findings import Mismatch, MismatchKind
from cdc_daemon.tablejobs.range_job import JobRun
from cdc_daemon.tablejobs.surplus import ComparedMapping, ComparisonTarget, ComparisonTargets, SurplusSearch

SUSPECTS = 2000
"""Mismatches collected before they are checked again: more would use more memory, fewer would wait more often."""

OF_ROWS = frozenset((MismatchKind.MISSING, MismatchKind.DIFFERENT))
"""Mismatches found by reading the rows."""


class Reconcile:
    """Compares page by page, so that memory stays flat at any size.

    A mismatch counts only when it is confirmed after the tail has passed it, because an in-flight change is not drift.
    Raises what reading rows, fetching documents and recording progress raise.
    """

    def __init__(
        self,
        targets: ComparisonTargets,
        *,
        scan: ScanFactory,
        compared: Mapping[str, ComparedMapping],
        on_compared: Callable[[str, Mapping[str, int]], None],
        on_done: Callable[[JobRun], Awaitable[None]],
    ) -> None:
        self._targets = targets
        self._scan = scan
        self._compared = compared
        self._on_compared = on_compared
        self._on_done = on_done
        self._id_sums: WeakKeyDictionary[JobRun, dict[str, IdSums]] = WeakKeyDictionary()

    async def work(self, run: JobRun, part: JobRange) -> None:
        """Compare the rest of a range, or walk the documents of a type."""
        await self.compare(run, part, repair=run.request.repair)

    async def compare(
        self,
        run: JobRun,
        part: JobRange,
        *,
        repair: bool,
        index: str | None = None,
        is_dead_letter: Callable[[Key], bool] = lambda _key: False,
    ) -> None:
        """Compare a range with `index`, by default the alias's. Dead letters do not count as mismatches."""
        compared = self._compared[part.object_type]
        target = await self._targets.of(
            part.object_type, compared, repair=repair, index=index, is_dead_letter=is_dead_letter
        )
        if part.side != DOCUMENTS:
            await self._rows(run, part, target, compared.table)
            return
        search = SurplusSearch(run, part, target, compared)
        if run.request.kind != "reconcile" or run.resumed or run.request.ranges or run.request.sample < 1:
            await search.check_all()
        else:
            await run.wait_rows(part.object_type)
            # The sums are lost in a crash; then each document is checked.
            await search.check_unseen(self._sums_of(run, part.object_type))

    async def finish(self, run: JobRun) -> None:
        """Report the remaining mismatches, and that the job is done."""
        for object_type in run.request.types:
            counts = run.found.get("types", {}).get(object_type, {})
            self._on_compared(object_type, counts.get("left", {kind.value: 0 for kind in MismatchKind}))
        await self._on_done(run)

    async def _rows(self, run: JobRun, part: JobRange, target: ComparisonTarget, table: TableName) -> None:
        suspects: dict[Key, Mismatch] = {}
        counted = compared = part.rows
        sums = self._sums_of(run, part.object_type)
        async for page in self._scan(run).rows(table, TokenRange(part.cursor, part.last)):
            await run.pace.take(len(page.keys))
            for keys, reading in _portions(page.keys, page.reading):
                result = await target.comparison.compare(keys, reading)
                suspects.update({key: each for key, each in result.mismatches.items() if each.kind in OF_ROWS})
                sums.add(result.existing)
                target.counts.add(unreadable=len(result.unreadable))
            compared = part.rows + page.covered_rows
            if confirmed := len(suspects) >= SUSPECTS:
                await target.confirmation.confirm(suspects, OF_ROWS)
                suspects = {}
            if not suspects:
                target.counts.add(rows=compared - counted)
                counted = compared
                await run.move(part, page.covered, compared, found=target.counts, now=confirmed)
        await target.confirmation.confirm(suspects, OF_ROWS)
        target.counts.add(rows=compared - counted)
        await run.move(part, part.last, compared, done=True, found=target.counts)

    def _sums_of(self, run: JobRun, object_type: str) -> IdSums:
        return self._id_sums.setdefault(run, {}).setdefault(object_type, IdSums())


def _portions(keys: Sequence[Key], reading: Reading | None = None) -> Iterator[tuple[Sequence[Key], Reading | None]]:
    for start in range(0, len(keys), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        yield keys[part], None if reading is None else reading._replace(states=reading.states[part])
