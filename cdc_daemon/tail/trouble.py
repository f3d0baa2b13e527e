"""What cannot be read, and what is missing: kept durably, counted, said."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from cdc_daemon.commitlog.entries import OVERHEAD
from cdc_daemon.errors import CommitLogError, DamagedSegmentError, StoreError, UnknownTableError
from cdc_daemon.pipeline.backoff import Backoff
from cdc_daemon.store.dead_letters import DeadLetter
from cdc_daemon.store.reconcile_requests import ReconcileReason, ReconcileRequest
from cdc_daemon.tail.gap import Gap
from cdc_daemon.tail.ports import DeadLetters, ReconcileRequests, TailObserver
from cdc_daemon.tail.quarantine import Quarantine
from cdc_daemon.tail.tracked import TrackedSegment

log = structlog.get_logger(__name__)


STRANGERS_KEPT = 1000
"""Mutations of one unknown table that are kept as dead letters."""


class Trouble:
    """Keeps dead letters of what is lost before reading goes on behind it.

    Damage (bytes that a marker covers and that do not hold together) also gets the segment copied to the
    quarantine at once, and again when it is released. For whatever is lost, or may be, a reconcile is requested
    as durably: only a comparison with Cassandra can tell what it was.
    """

    def __init__(
        self,
        dead_letters: DeadLetters,
        reconcile_requests: ReconcileRequests,
        *,
        quarantine: Quarantine,
        observer: TailObserver,
    ) -> None:
        self._dead_letters = dead_letters
        self._reconcile_requests = reconcile_requests
        self._quarantine = quarantine
        self._observer = observer
        self._strangers: dict[str, int] = {}

    async def unreadable(self, segment: TrackedSegment, problems: Sequence[CommitLogError]) -> None:
        """Keep what can be kept of entries or markers that cannot be read. It returns when that is durable."""
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

    async def strangers(self, segment: TrackedSegment, strangers: Sequence[UnknownTableError]) -> None:
        """Keep mutations of tables that nobody knows any more, up to a number for each table.

        Such a table is gone with all its rows, so beyond that number they are only counted, by whoever reads.
        """
        kept = []
        for stranger in strangers:
            table_id = stranger.where["table_id"]
            count = self._strangers[table_id] = self._strangers.get(table_id, 0) + 1
            if count == 1:
                log.warning("tail.table_unknown", error=stranger.message, hint=stranger.hint, **stranger.where)
            if count <= STRANGERS_KEPT:
                kept.append(_letter(segment, stranger, stranger.hint))
        if kept:
            await self._until_done(lambda: self._dead_letters.add(kept), segment.file.name)

    async def missing(self, gap: Gap) -> None:
        """Keep and tell of segments that are missing; only a certain gap becomes a dead letter."""
        if gap.certain:
            letter = DeadLetter(
                kind="segment",
                reason=f"gap_{gap.reason.value}",
                detail={"message": str(gap), "before": gap.before, "hint": Gap.HINT},
                segment_id=gap.after.segment_id,
                position=gap.after.offset,
            )
            await self._until_done(lambda: self._dead_letters.add([letter]), str(gap.after.segment_id))
            log.error("tail.gap", gap=str(gap), reason=gap.reason.value, hint=Gap.HINT)
        else:
            log.warning("tail.gap_possible", gap=str(gap), reason=gap.reason.value, hint=Gap.HINT)
        await self._request([_lost_in(gap)], str(gap.after.segment_id))
        self._observer.gap(gap)

    async def _request(self, requests: Sequence[ReconcileRequest], name: str) -> None:
        await self._until_done(lambda: self._reconcile_requests.add(requests), name)

    async def _until_done(self, keep: Callable[[], None], name: str) -> None:
        """Do blocking work in a thread until it succeeds: nothing may be passed that is not kept."""
        backoff = Backoff()
        while True:
            try:
                await asyncio.to_thread(keep)
            except (StoreError, OSError) as error:
                delay = backoff.next()
                log.warning(
                    "tail.loss_not_recorded",
                    segment=name,
                    error=str(error),
                    retry_in_seconds=round(delay, 3),
                    hint="see that the state directory's disk has room; reading waits until then",
                )
                await asyncio.sleep(delay)
            else:
                return


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
    """Say which stretch of a segment a problem makes doubtful: all of it where the problem has no place in it."""
    detail = {"error": type(problem).__name__, "message": problem.message}
    start = problem.where.get("position")
    if not isinstance(start, int) or segment.error is problem:
        return ReconcileRequest(reason=ReconcileReason.QUARANTINE, segment_id=segment.id, detail=detail)
    end = problem.where.get("end")
    if not isinstance(problem, DamagedSegmentError):
        # A mutation whose checksums hold is named by the place behind it.
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
