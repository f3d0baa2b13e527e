"""Record unreadable and missing data: store it durably, count it, log it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import structlog

from cdc_daemon.commitlog.entries import OVERHEAD
from cdc_daemon.model.backoff import Backoff
from cdc_daemon.model.errors import CommitLogError, DamagedSegmentError, StoreError, UnknownTableError
from cdc_daemon.sources.log.gaps import Gap
from cdc_daemon.sources.log.ports import DeadLetterStore, ReconcileRequestStore, TailObserver
from cdc_daemon.sources.log.quarantine import Quarantine
from cdc_daemon.sources.log.segments import TrackedSegment
from cdc_daemon.store.dead_letters import DeadLetter
from cdc_daemon.store.reconcile_requests import ReconcileReason, ReconcileRequest

log = structlog.get_logger(__name__)


MOST_TABLES = 10_000
"""Most remembered unknown tables; beyond that all are forgotten, which costs one read of the store each."""

T = TypeVar("T")


class LossRecorder:
    """Stores dead letters of lost data before reading continues behind it.

    If a segment is damaged (bytes covered by a marker are invalid), it is also copied to the quarantine at once, and
    again when it is released. For all data that is or may be lost, a reconcile is requested durably too: only a
    comparison with Cassandra can show what it was.
    """

    def __init__(
        self,
        dead_letters: DeadLetterStore,
        reconcile_requests: ReconcileRequestStore,
        *,
        quarantine: Quarantine,
        observer: TailObserver,
    ) -> None:
        self._dead_letters = dead_letters
        self._reconcile_requests = reconcile_requests
        self._quarantine = quarantine
        self._observer = observer
        self._counted: dict[str, tuple[int, int]] = {}

    async def unreadable(self, segment: TrackedSegment, problems: Sequence[CommitLogError]) -> None:
        """Store dead letters of unreadable entries or markers; return when they are durable."""
        if not problems:
            return
        damages = [problem for problem in problems if isinstance(problem, DamagedSegmentError)]
        if damages and not segment.damaged:
            await self._until_done(lambda: self._quarantine.keep(segment.file.path), segment.file.name)
            segment.damaged = True
        letters = [_letter(segment, problem, self._hint(problem)) for problem in problems]
        await self._until_done(lambda: self._dead_letters.add(letters), segment.file.name)
        await self._request([_lost_to(segment, problem) for problem in problems], segment.file.name)
        for problem in problems:
            self._observer.unreadable(problem)
            log.error(
                "tail.segment_damaged" if isinstance(problem, DamagedSegmentError) else "tail.mutation_unreadable",
                error=problem.message,
                hint=self._hint(problem),
                dead_lettered=True,
                **problem.where,
            )

    def _hint(self, problem: CommitLogError) -> str | None:
        if not isinstance(problem, DamagedSegmentError):
            return problem.hint
        return "; ".join(filter(None, (problem.hint, self._quarantine.advice)))

    async def unknown_tables(self, segment: TrackedSegment, errors: Sequence[UnknownTableError]) -> None:
        """Store one dead letter for each unknown table, with its first mutation and the number of its mutations.

        Usually such a table was dropped with all its rows, so further mutations are only counted. A mutation that is
        read again after a crash counts once.
        """
        by_table: dict[str, list[UnknownTableError]] = defaultdict(list)
        for error in errors:
            by_table[error.where["table_id"]].append(error)
        letters, new = [], []
        for table_id, of_table in by_table.items():
            if table_id not in self._counted:
                stored = await self._until_done(partial(self._dead_letters.counted_up_to, table_id), segment.file.name)
                if len(self._counted) >= MOST_TABLES:
                    self._counted.clear()
                self._counted[table_id] = stored or _NOTHING_COUNTED
                if stored is None:
                    new.append(of_table[0])
            counted = self._counted[table_id]
            uncounted = [each for each in of_table if (segment.id, each.where["position"]) > counted]
            if uncounted:
                letters.append(
                    replace(
                        _letter(segment, uncounted[0], uncounted[0].hint),
                        position=uncounted[-1].where["position"],
                        table_id=table_id,
                        count=len(uncounted),
                    )
                )
        if letters:
            await self._until_done(lambda: self._dead_letters.add(letters), segment.file.name)
        for error in new:
            self._observer.table_unknown()
            log.warning("tail.table_unknown", error=error.message, hint=error.hint, dead_lettered=True, **error.where)

    async def missing(self, gap: Gap) -> None:
        """Record and log missing segments; only a certain gap becomes a dead letter."""
        if gap.certain:
            letter = DeadLetter(
                kind="segment",
                reason=f"gap_{gap.reason.value}",
                detail={"message": str(gap), "before": gap.before, "hint": gap.hint},
                segment_id=gap.after.segment_id,
                position=gap.after.offset,
            )
            await self._until_done(lambda: self._dead_letters.add([letter]), str(gap.after.segment_id))
            log.error("tail.gap", gap=str(gap), reason=gap.reason.value, hint=gap.hint)
        else:
            log.warning("tail.gap_possible", gap=str(gap), reason=gap.reason.value, hint=gap.hint)
        await self._request([_lost_in(gap)], str(gap.after.segment_id))
        self._observer.gap(gap)

    async def _request(self, requests: Sequence[ReconcileRequest], name: str) -> None:
        await self._until_done(lambda: self._reconcile_requests.add(requests), name)

    async def _until_done(self, work: Callable[[], T], name: str) -> T:
        """Retry blocking work in a thread until it succeeds; return its result. Lost data must be recorded."""
        backoff = Backoff()
        while True:
            try:
                return await asyncio.to_thread(work)
            except (StoreError, OSError) as error:
                delay = backoff.next()
                log.warning(
                    "tail.loss_not_recorded",
                    segment=name,
                    error=str(error),
                    retry_in_seconds=round(delay, 3),
                    hint="free space on the state directory's disk; reading waits until then",
                )
                await asyncio.sleep(delay)


_NOTHING_COUNTED = (0, 0)
"""A position before every other."""


def _letter(segment: TrackedSegment, problem: CommitLogError, hint: str | None) -> DeadLetter:
    damaged = isinstance(problem, DamagedSegmentError)
    place = problem.where.get("position")
    return DeadLetter(
        kind="segment" if damaged else "mutation",
        reason=type(problem).__name__,
        detail={"message": problem.message, "hint": hint, **problem.where},
        segment_id=segment.id,
        position=place if isinstance(place, int) else None,
        payload=problem.data,
    )


def _lost_to(segment: TrackedSegment, problem: CommitLogError) -> ReconcileRequest:
    """Return the part of a segment that a problem affects: all of it if the problem has no position."""
    detail = {"error": type(problem).__name__, "message": problem.message}
    start = problem.where.get("position")
    if not isinstance(start, int) or segment.error is problem:
        return ReconcileRequest(reason=ReconcileReason.QUARANTINE, segment_id=segment.id, detail=detail)
    end = problem.where.get("end")
    if not isinstance(problem, DamagedSegmentError):
        # The position of a mutation with valid checksums is its end.
        start, end = start - len(problem.data or b"") - OVERHEAD, start
    return ReconcileRequest(
        reason=ReconcileReason.DAMAGE,
        segment_id=segment.id,
        from_position=start,
        to_position=end if isinstance(end, int) else None,
        detail=detail,
    )


def _lost_in(gap: Gap) -> ReconcileRequest:
    return ReconcileRequest(
        reason=ReconcileReason.GAP,
        segment_id=gap.after.segment_id,
        from_position=gap.after.offset,
        to_segment_id=gap.before,
        detail={"cause": gap.reason.value, "certain": gap.certain, "message": str(gap)},
    )
