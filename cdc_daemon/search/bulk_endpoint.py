"""The bulk writer's requests: sends bytes, returns items or a failure; and probes of aliases."""

from __future__ import annotations

from collections.abc import Sequence

from cdc_daemon.model.document_operation import Operation
from cdc_daemon.search.bulk_body import Target, WriteTrouble, encode_guard
from cdc_daemon.search.engine import DocumentName, Item, SearchEngine, StoredDocument
from cdc_daemon.search.failure import EngineError, Failure, FailureKind

HEALTHY_GUARD = "document_missing_exception"


class BulkEndpoint:
    """Sends bulk requests and probes. It retries nothing and raises no `EngineError`. Timeouts are in seconds."""

    def __init__(self, engine: SearchEngine, *, request_timeout: float, probe_timeout: float) -> None:
        self._engine = engine
        self._request_timeout = request_timeout
        self._probe_timeout = probe_timeout

    async def send(self, body: bytes, count: int, *, deletions: bool = False) -> list[Item] | Failure | None:
        """Send a request of `count` actions; return the items in order, or None if none of them failed.

        With `deletions` there are always items: they say whether the document existed.
        A `Failure` is a failure of the whole request.
        """
        try:
            return await self._engine.bulk(body, count, seconds=self._request_timeout, every=deletions)
        except EngineError as error:
            return error.failure

    async def probe(self, targets: Sequence[Target]) -> Failure | Sequence[WriteTrouble]:
        """Check whether each target accepts writes now, without writing anything.

        Returns the trouble of single aliases. A `Failure` is a failure of Elasticsearch as a whole: if a request is
        rejected because of one alias, each target is probed alone to find that alias.
        """
        found = await self._probe(targets)
        if not isinstance(found, Failure) or found.kind is not FailureKind.OPERATOR or len(targets) == 1:
            return found
        alone = [(target, await self._probe([target])) for target in targets]
        if all(isinstance(each, Failure) for _, each in alone):
            return found
        return [
            trouble
            for target, each in alone
            for trouble in ([WriteTrouble(each, (target,))] if isinstance(each, Failure) else each)
        ]

    async def _probe(self, targets: Sequence[Target]) -> Failure | Sequence[WriteTrouble]:
        body = b"\n".join([*map(encode_guard, targets), b""])
        try:
            items = await self._engine.bulk(body, len(targets), seconds=self._probe_timeout)
        except EngineError as error:
            return [] if error.failure.kind is FailureKind.OVERLOAD else error.failure
        found: list[WriteTrouble] = []
        for target, item in zip(targets, items or (), strict=False):
            failure = guard_failure(item)
            if failure is not None and failure.is_of_cluster:
                return failure
            if failure is not None:
                found.append(WriteTrouble(failure, (target,)))
        return found

    async def versions(self, operations: Sequence[Operation]) -> list[int | None]:
        """Return the current versions of the operations' documents; None where no version is available."""
        names = [DocumentName(operation.alias, operation.id, operation.routing) for operation in operations]
        try:
            documents = await self._engine.documents(names, source=False, seconds=self._request_timeout)
        except EngineError:
            return [None] * len(operations)
        return [each.version if isinstance(each, StoredDocument) else None for each in documents]


def guard_failure(item: Item) -> Failure | None:
    """Return the failure of an alias that a guard's item reports, or None if a write would have succeeded."""
    error = item.get("error")
    if error is None:
        return None
    failure = Failure.from_error(item["status"], error)
    if failure.error_type == HEALTHY_GUARD or failure.kind not in {FailureKind.OPERATOR, FailureKind.UNAVAILABLE}:
        return None
    return failure
