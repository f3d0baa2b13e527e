"""The bulk writer: takes operations and returns one outcome for each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace

import structlog

from cdc_daemon.model.backoff import Backoff
from cdc_daemon.model.document_operation import Operation, Result
from cdc_daemon.model.errors import CdcError
from cdc_daemon.model.version_clock import HybridClock, wall_clock
from cdc_daemon.search.alias_troubles import AliasTrouble, AliasTroubles, Prepare, prepare_nothing
from cdc_daemon.search.availability import Availability, WriteProbe
from cdc_daemon.search.bulk_body import BulkBatch, Target, WriteTrouble, split
from cdc_daemon.search.bulk_limits import AdaptiveLimit, BulkLimits
from cdc_daemon.search.bulk_results import BulkResults, BulkVerdict, Clocks
from cdc_daemon.search.documents import find_versions
from cdc_daemon.search.engine import DocumentName, SearchEngine
from cdc_daemon.search.failure import EngineError, Failure, FailureKind
from cdc_daemon.search.metrics import BulkObserver, RetryReason, SilentObserver
from cdc_daemon.search.removal_marks import AT_ONCE, marked_operations

log = structlog.get_logger(__name__)

SMALLEST_SIZE = 64 * 1024
"""The smallest bound on a request's size in bytes, even if a proxy rejects requests of this size."""


class BulkWriter:
    """Writes and deletes documents by `_bulk` with external versions, over several connections at once.

    The caller must never have two operations for one document in flight. An operation that cannot be completed
    is returned as REREAD, never as an exception. The writer holds operations only while `write` runs.
    An operation returned as REREAD with a status of 500 or more may fail every time, because Elasticsearch may
    fail on its document. The caller must pause before it retries.

    Trouble of one alias affects only its own operations: they are returned at once, and are not sent until the alias
    accepts writes again. `prepare` checks what an alias needs before that.

    Elasticsearch's whole response time counts towards the age of a body, so a request is abandoned after
    `max_body_age` even if `request_timeout` is longer.

    `versions` is the clock of the operations' versions. When it has stepped back, operations of earlier reads are not
    sent: their versions would win over those of later reads.
    """

    def __init__(
        self,
        engine: SearchEngine,
        *,
        limits: BulkLimits | None = None,
        observer: BulkObserver | None = None,
        prepare: Prepare = prepare_nothing,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], int] = wall_clock,
        versions: HybridClock | None = None,
    ) -> None:
        self._versions = versions or HybridClock()
        self._limits = limits or BulkLimits()
        self._observer = observer or SilentObserver()
        self._clock = clock
        self._now = now
        self._size = self._limits.size
        self._slots = AdaptiveLimit(self._limits.connections)
        self._engine = engine
        self._request_timeout = min(self._limits.request_timeout, self._limits.max_body_age)
        probe = WriteProbe(engine, seconds=min(self._request_timeout, 5.0))
        self._availability = Availability(
            probe,
            observer=self._observer,
            pauses=self._limits.probe_pauses,
            clock=clock,
        )
        self._troubles = AliasTroubles(
            probe, self._availability, pauses=self._limits.probe_pauses, prepare=prepare, clock=clock
        )
        self._availability.on_alias = self._troubles.report
        self._foreign: set[str] = set()

    @property
    def available(self) -> bool:
        """Whether Elasticsearch as a whole is available for writes."""
        return bool(self._availability)

    @property
    def failure(self) -> Failure | None:
        """The last failure while Elasticsearch is unavailable."""
        return self._availability.failure

    def trouble(self, alias: str) -> AliasTrouble | None:
        """Return why an alias rejects writes, or None if it accepts them."""
        return self._troubles.get(alias)

    @property
    def troubled(self) -> Collection[str]:
        """The aliases that reject writes."""
        return self._troubles.aliases

    def on_troubles_changed(self, changed: Callable[[], None]) -> None:
        """Call `changed` after each change of the set of aliases that reject writes."""
        self._troubles.changed = changed

    def hold(self, alias: str, error: CdcError) -> None:
        """Stop writes to an alias until the cause of an error is fixed."""
        self._troubles.report_error(alias, error)

    async def wait_available(self) -> None:
        """Wait until Elasticsearch is available for writes; return at once if it is.

        Read rows after this call, not before: a body built before the end of an outage is not sent.
        """
        await self._availability.wait()

    def lost(self, failure: Failure, operations: Sequence[Operation]) -> None:
        """Record that Elasticsearch was unavailable to another component that was about to write these operations."""
        targets = {operation.alias: Target.of(operation) for operation in operations}
        self._availability.lost(WriteTrouble(failure, tuple(targets.values())))

    def keep_targets(self, indices: Collection[str]) -> None:
        """Stop waiting for all indices but these: the others are no longer written to."""
        self._availability.keep_targets(indices)
        self._troubles.keep(indices)

    def doubt(self, alias: str) -> None:
        """Probe soon whether Elasticsearch accepts writes, because something other than a write has failed."""
        self._availability.doubt(Target(alias, alias))

    def limit_body_age(self, seconds: float) -> None:
        """Lower the maximum age of a body from now on; a higher value than the current one has no effect."""
        self._limits = replace(self._limits, max_body_age=min(seconds, self._limits.max_body_age))

    async def close(self) -> None:
        """Stop the probes. The caller must close the engine."""
        await self._troubles.close()
        await self._availability.close()

    async def write(self, operations: Sequence[Operation]) -> list[Result]:
        """Write the operations in any order, and return the results in the order of the operations.

        Returns when each operation has a final outcome or must be read again; under overload that takes at most
        `max_body_age` and one request. Cancellation leaves no request in flight on this side.
        """
        known = BulkResults(operations)
        limits = self._limits
        marks = [at for at, operation in enumerate(operations) if operation.mark is not None]
        if marks:
            await self._mark_removed(known, marks)
            if len(marks) == len(operations):
                return known.results
        wanted = [at for at, operation in enumerate(operations) if operation.mark is None] if marks else None
        batches = list(split(operations, known.results, documents=limits.documents, size=self._size, positions=wanted))
        work = iter(batches)
        couriers = min(len(batches), limits.connections)
        if couriers <= 1:
            await self._deliver_all(known, work)
        else:
            async with asyncio.TaskGroup() as group:
                for _ in range(couriers):
                    group.create_task(self._deliver_all(known, work))
        return known.results

    async def _mark_removed(self, known: BulkResults, positions: Sequence[int]) -> None:
        """Mark the documents of removed rows. One that meets overload is read again together with its row."""
        for start in range(0, len(positions), AT_ONCE):
            async with self._slots.slot():
                readable = await self._read_marked(known, positions[start : start + AT_ONCE])
            parts = split(known.operations, known.results, documents=AT_ONCE, size=self._size, positions=readable)
            for batch in parts:
                await self._deliver(known, batch, repeat=False)

    async def _read_marked(self, known: BulkResults, positions: Sequence[int]) -> Sequence[int]:
        """Read documents, and replace the operations that mark them; return the positions of those to be sent."""
        batch = self._sendable(known, BulkBatch(list(positions), [b""] * len(positions), 0))
        if not batch.positions:
            return ()
        wanted = [known.operations[at] for at in batch.positions]
        try:
            marked = await marked_operations(self._engine, wanted, seconds=self._request_timeout, now=self._now)
        except EngineError as error:
            await self._finish(known, known.record_refused(batch, error.failure, sent=False))
            return ()
        verdict = BulkVerdict()
        readable: dict[int, Operation] = {}
        for position, found in zip(batch.positions, marked, strict=True):
            if isinstance(found, Operation):
                readable[position] = found
            elif isinstance(found, Result):
                known.results[position] = found
            else:
                known.record_unread(position, found, verdict)
        known.send_instead(readable)
        await self._finish(known, verdict)
        return list(readable)

    async def _deliver_all(self, known: BulkResults, work: Iterator[BulkBatch]) -> None:
        for batch in work:
            await self._deliver(known, batch)

    async def _deliver(self, known: BulkResults, batch: BulkBatch, *, repeat: bool = True) -> None:
        """Send a batch, then the documents that were refused because of values that can be stored aside."""
        await self._deliver_batch(known, batch, repeat=repeat)
        if fitting := known.fitting(batch):
            log.warning(
                "elasticsearch.values_not_indexed",
                documents=len(fitting),
                id=next(iter(fitting.values())).id,
                hint="a map has an entry that is too long for a flattened field: it is stored and not searched",
                every=60,
            )
            known.send_instead(fitting)
            for part in split(
                known.operations, known.results, documents=len(fitting), size=self._size, positions=fitting
            ):
                await self._deliver_batch(known, part, repeat=repeat)

    async def _deliver_batch(self, known: BulkResults, whole: BulkBatch, *, repeat: bool) -> None:
        """Send a batch until none of its operations must be sent again; without `repeat` only once."""
        backoff = Backoff(first=self._limits.retry_pause)
        batch = whole
        while True:
            async with self._slots.slot() as started:
                batch = self._sendable(known, batch)
                if not batch.positions:
                    return
                answer = await self._send(known, batch)
                if isinstance(answer, Failure):
                    break
                self._adapt(answer, started)
            await self._finish(known, answer)
            if not (answer.overloaded and repeat):
                return
            batch = batch.keep(answer.overloaded, known.operations)
            await asyncio.sleep(backoff.next(self._limits.longest_retry_pause))
        await self._split_invalid(known, batch, answer, repeat=repeat)

    async def _send(self, known: BulkResults, batch: BulkBatch) -> BulkVerdict | Failure:
        """Send a batch once; return a `Failure` if the request itself is invalid and must be split."""
        body, guards = batch.encode(known.operations)
        started = self._clock()
        deletions = any(known.operations[position].body is None for position in batch.positions)
        try:
            # The items of deletions say whether the document existed.
            items = await self._engine.bulk(
                body, len(batch) + len(guards), seconds=self._request_timeout, every=deletions
            )
        except EngineError as error:
            failure = error.failure
            if failure.status == 413 or failure.kind is FailureKind.DOCUMENT:
                return failure
            return known.record_refused(batch, failure, sent=True)
        self._observer.bulk_done(self._clock() - started, len(batch), len(body))
        return known.record(batch, guards, items, self._clocks())

    async def _split_invalid(self, known: BulkResults, batch: BulkBatch, failure: Failure, *, repeat: bool) -> None:
        """Halve a request that is too large or holds an invalid operation, down to the single operation."""
        if failure.status == 413:
            self._shrink(batch.size // 2)
        if len(batch) == 1:
            known.record_dead(batch.positions[0], failure)
            return
        for half in batch.halves(known.operations):
            await self._deliver_batch(known, half, repeat=repeat)

    async def _finish(self, known: BulkResults, verdict: BulkVerdict) -> None:
        """Look up the versions that conflicts did not report, and pass on the results."""
        if verdict.trouble is not None:
            self._availability.lost(verdict.trouble)
        for trouble in verdict.troubled.values():
            self._troubles.report(trouble)
        if verdict.unseen:
            versions = await self._find_versions([known.operations[at] for at in verdict.unseen])
            for position, seen in zip(verdict.unseen, versions, strict=True):
                result = known.results[position]
                failure = Failure(result.status, result.error_type or "", result.reason or "")
                known.record_conflict(position, failure, seen, self._clocks(), verdict)
        if verdict.overloaded:
            self._observer.retried(RetryReason.OVERLOAD, len(verdict.overloaded))
        for reason, count in verdict.retries.items():
            self._observer.retried(reason, count)
        if verdict.retries[RetryReason.FOREIGN_VERSION]:
            self._log_foreign_versions(known)

    async def _find_versions(self, operations: Sequence[Operation]) -> list[int | None]:
        """Return the current versions of the operations' documents; None where no version is available."""
        names = [DocumentName(operation.alias, operation.id, operation.routing) for operation in operations]
        try:
            return await find_versions(self._engine, names, seconds=self._request_timeout)
        except CdcError:
            return [None] * len(operations)

    def _sendable(self, known: BulkResults, batch: BulkBatch) -> BulkBatch:
        """Return the part of the batch that may be sent now; the rest must be read again.

        See docs/guarantees.md, promise 5.
        """
        failure = self._availability.failure
        if failure is not None:
            for reason, count in known.record_refused(batch, failure, sent=False).retries.items():
                self._observer.retried(reason, count)
            return BulkBatch([], [], 0)
        taken = batch
        if self._troubles.aliases:
            taken = known.without_troubled(batch, self._troubles.failures)
            if len(taken) < len(batch):
                self._observer.retried(RetryReason.REFUSED, len(batch) - len(taken))
        oldest = max(
            self._clock() - self._limits.max_body_age, self._availability.since, self._versions.stepped_back_at
        )
        fresh = known.without_stale(taken, built_after=oldest, of=self._troubles.back_since(oldest))
        if len(fresh) < len(taken):
            self._observer.retried(RetryReason.STALE_BODY, len(taken) - len(fresh))
        return fresh

    def _adapt(self, verdict: BulkVerdict, started: float) -> None:
        if not verdict.overloaded and verdict.trouble is None:
            self._slots.succeeded()
        elif verdict.overloaded and self._slots.overloaded(started):
            log.warning("elasticsearch.overloaded", requests_at_once=self._slots.width)

    def _shrink(self, size: int) -> None:
        smaller = max(size, SMALLEST_SIZE)
        if smaller < self._size:
            self._size = smaller
            log.warning("elasticsearch.request_too_large", request_bytes_at_most=smaller)

    def _log_foreign_versions(self, known: BulkResults) -> None:
        clocks = self._clocks()
        for operation, result in zip(known.operations, known.results, strict=True):
            seen = result.seen_version or 0
            if seen > clocks.now + clocks.allowed and operation.alias not in self._foreign:
                self._foreign.add(operation.alias)
                log.warning(
                    "elasticsearch.foreign_version",
                    index=operation.alias,
                    id=operation.id,
                    seen_version=seen,
                    hint="another program writes to this index, or a daemon's clock is ahead; logged once per index",
                )

    def _clocks(self) -> Clocks:
        return Clocks(self._now(), int(self._limits.allowed_clock_difference * 1_000_000), self._versions.untrusted)
