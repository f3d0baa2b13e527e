"""The outcome of each operation, computed from the items of a bulk response."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType

from cdc_daemon.model.document_operation import Operation, Outcome, Result
from cdc_daemon.model.version_clock import NO_VERSIONS, VersionRange
from cdc_daemon.search.bulk_body import BulkBatch, Target, WriteTrouble, guard_failure
from cdc_daemon.search.engine import BulkItem
from cdc_daemon.search.failure import Failure, FailureKind
from cdc_daemon.search.flattened_fields import without_unfit_values
from cdc_daemon.search.metrics import RetryReason

_SEEN = re.compile(r"current version \[(\d+)\] is higher (?:or equal to|than) the one provided \[\d+\]")
"""`VersionType.EXTERNAL_GTE.explainConflictForWrites` of Elasticsearch 8.19; `EXTERNAL` has different text."""

_NO_MOMENTS: Mapping[str, float] = MappingProxyType({})

_PENDING = Result(Outcome.REREAD, "not_sent", "nothing was sent", status=0)


@dataclass(frozen=True, slots=True)
class Clocks:
    """The limits for a version found in the index, in microseconds (since epoch).

    `now` is the wall clock, `allowed` the greatest clock skew between daemons. `untrusted` versions were issued by a
    clock that was ahead.
    """

    now: int
    allowed: int
    untrusted: VersionRange = NO_VERSIONS


@dataclass(slots=True)
class BulkVerdict:
    """The work that remains after a response.

    `overloaded` are positions to send again. `unseen` are positions of conflicts without a version in the
    reason. `trouble` is set if Elasticsearch as a whole rejects writes; `troubled` holds the trouble of single
    aliases, by alias. `retries` counts operations that must be read again, by reason.
    """

    overloaded: list[int] = field(default_factory=list)
    unseen: list[int] = field(default_factory=list)
    trouble: WriteTrouble | None = None
    troubled: dict[str, WriteTrouble] = field(default_factory=dict)
    retries: Counter[RetryReason] = field(default_factory=Counter)

    def add_trouble(self, failure: Failure, target: Target) -> None:
        """Record the failure of one operation as trouble of its alias, unless it affects every index."""
        trouble = WriteTrouble(failure, (target,))
        if failure.is_of_cluster:
            self.trouble = self.trouble or trouble
        else:
            self.troubled.setdefault(target.alias, trouble)


class BulkResults:
    """The operations of one write and, at the same positions, the results known so far.

    Operations that mark documents are replaced by those that are sent in their place.
    """

    def __init__(self, operations: Sequence[Operation]) -> None:
        self.operations = operations
        self.results = [_PENDING] * len(operations)

    def record(
        self, batch: BulkBatch, guards: Sequence[Target], items: Sequence[BulkItem] | None, clocks: Clocks
    ) -> BulkVerdict:
        """Record the outcome of each operation of a batch; the operations in the verdict have no final outcome yet.

        `items` is None if nothing failed; the items of the guards follow those of the operations.
        """
        verdict = BulkVerdict()
        if items is None:
            for position in batch.positions:
                self.results[position] = _written(_outcome_of(self.operations[position]), 200)
            return verdict
        missing: set[str] = set()
        for position, item in zip(batch.positions, items, strict=False):
            operation = self.operations[position]
            failure = item.failure
            if failure is None:
                self.results[position] = _written(_outcome_of(operation), item.status)
                continue
            if failure.error_type == "index_not_found_exception":
                missing.add(operation.alias)
            self._record_failed(position, failure, verdict, clocks)
        for guard, item in zip(guards, items[len(batch) :], strict=True):
            guarded = guard_failure(item)
            if guarded is not None:
                verdict.add_trouble(guarded, guard)
                missing.add(guard.alias)
        self._distrust_deletions(batch, missing, verdict)
        return verdict

    def send_instead(self, replaced: Mapping[int, Operation]) -> None:
        """Replace the operations at these positions by those that are sent; the caller's sequence is not changed."""
        self.operations = [replaced.get(at, operation) for at, operation in enumerate(self.operations)]

    def fitting(self, batch: BulkBatch) -> dict[int, Operation]:
        """Return, by position, the refused documents of a batch without the values that were not accepted."""
        found: dict[int, Operation] = {}
        for position in batch.positions:
            if self.results[position].outcome is Outcome.DEAD and self.results[position].status == 400:
                operation = without_unfit_values(self.operations[position])
                if operation is not None:
                    found[position] = operation
        return found

    def record_unread(self, position: int, failure: Failure, verdict: BulkVerdict) -> None:
        """Record the outcome of an operation that needs its document, which could not be read."""
        if failure.kind is FailureKind.DOCUMENT:
            self.record_dead(position, failure)
            return
        self.results[position] = _result(Outcome.REREAD, failure)
        verdict.retries[retry_reason(failure.kind)] += 1
        verdict.add_trouble(failure, Target.of(self.operations[position]))

    def record_refused(self, batch: BulkBatch, failure: Failure, *, sent: bool) -> BulkVerdict:
        """Record REREAD for each operation of a request that was rejected or lost as a whole, or never `sent`."""
        verdict = BulkVerdict()
        targets: dict[str, Target] = {}
        result = _result(Outcome.REREAD, failure, unanswered=sent and failure.unanswered)
        for position in batch.positions:
            self.results[position] = result
            operation = self.operations[position]
            targets.setdefault(operation.alias, Target.of(operation))
        if failure.kind is FailureKind.OVERLOAD:
            verdict.overloaded.extend(batch.positions)
        else:
            verdict.retries[retry_reason(failure.kind)] += len(batch)
            verdict.trouble = WriteTrouble(failure, tuple(targets.values()))
        return verdict

    def record_dead(self, position: int, failure: Failure) -> None:
        """Record DEAD for an operation that Elasticsearch cannot accept."""
        self.results[position] = _result(Outcome.DEAD, failure)

    def record_conflict(
        self, position: int, failure: Failure, seen: int | None, clocks: Clocks, verdict: BulkVerdict
    ) -> None:
        """Record SUPERSEDED for a version of a later read, and REREAD for clock skew or a foreign writer.

        A version that a clock ahead has issued does not prove a later read.

        An unknown version counts as a conflict: the operation is read again and written with a higher version.
        See docs/guarantees.md, promise 4.
        """
        known = 0 if seen is None else seen
        foreign = known > clocks.now + clocks.allowed
        later = known > self.operations[position].version + clocks.allowed
        if later and not foreign and known not in clocks.untrusted:
            self.results[position] = _result(Outcome.SUPERSEDED, failure, seen)
            return
        verdict.retries[RetryReason.FOREIGN_VERSION if foreign else RetryReason.CONFLICT] += 1
        self.results[position] = _result(Outcome.REREAD, failure, seen)

    def without_troubled(self, batch: BulkBatch, failures: Mapping[str, Failure]) -> BulkBatch:
        """Record REREAD for the operations of these aliases, which reject writes at present; return the others."""
        left = []
        for position in batch.positions:
            failure = failures.get(self.operations[position].alias)
            if failure is None:
                left.append(position)
            else:
                self.results[position] = _result(Outcome.REREAD, failure)
        return batch if len(left) == len(batch) else batch.keep(left, self.operations)

    def without_stale(
        self, batch: BulkBatch, *, built_after: float, of: Mapping[str, float] = _NO_MOMENTS
    ) -> BulkBatch:
        """Record REREAD for operations built at `built_after` (monotonic seconds) or before; return the others.

        `of` holds later times for single aliases.
        """
        fresh = [
            position
            for position in batch.positions
            if self.operations[position].read_at > built_after
            and (not of or self.operations[position].read_at > of.get(self.operations[position].alias, built_after))
        ]
        if len(fresh) == len(batch):
            return batch
        for position in set(batch.positions).difference(fresh):
            self.results[position] = Result(Outcome.REREAD, "body_too_old", "the body waited too long", status=0)
        return batch.keep(fresh, self.operations)

    def _record_failed(self, position: int, failure: Failure, verdict: BulkVerdict, clocks: Clocks) -> None:
        operation = self.operations[position]
        kind = failure.kind
        if kind is FailureKind.CONFLICT:
            seen = read_seen_version(operation.id, failure.reason)
            if seen is None:
                verdict.unseen.append(position)
                self.results[position] = _result(Outcome.REREAD, failure)
            else:
                self.record_conflict(position, failure, seen, clocks, verdict)
        elif kind is FailureKind.DOCUMENT:
            self.record_dead(position, failure)
        elif kind is FailureKind.OVERLOAD:
            self.results[position] = _result(Outcome.REREAD, failure)
            verdict.overloaded.append(position)
        else:
            self.results[position] = _result(Outcome.REREAD, failure, unanswered=failure.unanswered)
            verdict.retries[retry_reason(kind)] += 1
            if kind is not FailureKind.SERVER_FAULT:
                verdict.add_trouble(failure, Target.of(operation))

    def _distrust_deletions(self, batch: BulkBatch, missing: set[str], verdict: BulkVerdict) -> None:
        """Record REREAD for deletions without an alias: they may have been applied to an index of that name."""
        for position in batch.positions if missing else ():
            if self.operations[position].alias in missing and self.results[position].outcome is Outcome.DELETED:
                self.results[position] = Result(
                    Outcome.REREAD, "index_not_found_exception", "the deletion did not go to an alias", status=404
                )
                verdict.retries[RetryReason.REFUSED] += 1


def read_seen_version(document_id: str, reason: str) -> int | None:
    """Read the current version from the reason of a conflict; return None if the reason has none.

    The reason begins with the id, and an id may contain any text: only the text after it counts.
    """
    before = f"[{document_id}]: version conflict, "
    if not reason.startswith(before):
        return None
    match = _SEEN.match(reason, len(before))
    return int(match.group(1)) if match else None


def retry_reason(kind: FailureKind) -> RetryReason:
    """Return the metric label for operations of a failed request or a failed shard."""
    if kind is FailureKind.OPERATOR:
        return RetryReason.REFUSED
    return RetryReason.CONNECTION if kind is FailureKind.UNAVAILABLE else RetryReason.SERVER_FAULT


def _result(outcome: Outcome, failure: Failure, seen: int | None = None, *, unanswered: bool = False) -> Result:
    return Result(outcome, failure.error_type, failure.reason, seen, failure.status, unanswered)


def _outcome_of(operation: Operation) -> Outcome:
    """Return the outcome of an operation that was carried out."""
    if operation.body is None:
        return Outcome.DELETED
    return Outcome.INDEXED if operation.mark is None else Outcome.MARKED


@cache
def _written(outcome: Outcome, status: int) -> Result:
    return Result(outcome, status=status)
