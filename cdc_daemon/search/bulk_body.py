"""Encoding of operations as bulk requests: action lines, bodies, and the number that fit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import orjson

from cdc_daemon.model.document_operation import Operation, Outcome, Result
from cdc_daemon.search.engine import BulkItem
from cdc_daemon.search.failure import Failure, FailureKind

MAX_ID_BYTES = 512
"""The longest `_id` in bytes of UTF-8 (Elasticsearch's `IndexRequest.MAX_DOCUMENT_ID_LENGTH_IN_BYTES`)."""

MAX_VERSION = 2**63 - 1
"""Versions are Java longs."""

GUARD_ID = "cdc-daemon-guard"
"""The id of a document that is never written: see `encode_guard`."""

HEALTHY_GUARD = "document_missing_exception"
"""The failure of a guard on an alias that accepts writes."""


@dataclass(slots=True)
class BulkBatch:
    """Operations of one bulk request.

    `positions` are indices into the caller's sequence of operations, `actions` are the encoded action lines
    in the same order, `size` is the bytes of actions and bodies with their line ends.
    """

    positions: list[int]
    actions: list[bytes]
    size: int

    def __len__(self) -> int:
        return len(self.positions)

    def encode(self, operations: Sequence[Operation]) -> tuple[bytes, list[Target]]:
        """Return the request's body, and the guards that follow the operations in it.

        Elasticsearch ignores `require_alias` for deletions: a deletion with an external version creates the missing
        index under the alias's name. But one other action on the same alias enforces it for the whole request
        (`TransportBulkAction.populateMissingTargets`, 8.19). So an alias with deletions only gets a guard.
        """
        lines: list[bytes] = []
        written: set[str] = set()
        deleted: dict[str, Target] = {}
        for position, action in zip(self.positions, self.actions, strict=True):
            operation = operations[position]
            lines.append(action)
            if operation.body is None:
                deleted.setdefault(operation.alias, Target.of(operation))
            else:
                lines.append(operation.body)
                written.add(operation.alias)
        guards = [target for alias, target in deleted.items() if alias not in written]
        lines.extend(encode_guard(guard) for guard in guards)
        lines.append(b"")
        return b"\n".join(lines), guards

    def keep(self, positions: Iterable[int], operations: Sequence[Operation]) -> BulkBatch:
        """Return a batch of these positions only."""
        wanted = set(positions)
        kept = BulkBatch([], [], 0)
        for position, action in zip(self.positions, self.actions, strict=True):
            if position in wanted:
                kept.add(position, action, operations[position])
        return kept

    def halves(self, operations: Sequence[Operation]) -> tuple[BulkBatch, BulkBatch]:
        """Return the two halves of the batch."""
        middle = len(self) // 2
        return self.keep(self.positions[:middle], operations), self.keep(self.positions[middle:], operations)

    def add(self, position: int, action: bytes, operation: Operation) -> None:
        """Append one operation."""
        self.positions.append(position)
        self.actions.append(action)
        self.size += line_size(action, operation.body)


@dataclass(frozen=True, slots=True)
class Target:
    """A shard to write to: the alias, and a routing value that maps to the shard."""

    alias: str
    routing: str

    @classmethod
    def of(cls, operation: Operation) -> Target:
        """Return the target of an operation. Without a routing value, the id is the routing value."""
        return cls(operation.alias, operation.id if operation.routing is None else operation.routing)


@dataclass(frozen=True, slots=True)
class WriteTrouble:
    """Why Elasticsearch, or one alias, rejects writes: the failure, and the affected shards."""

    failure: Failure
    targets: tuple[Target, ...]


def split(
    operations: Sequence[Operation],
    results: list[Result],
    *,
    documents: int,
    size: int,
    positions: Iterable[int] | None = None,
) -> Iterator[BulkBatch]:
    """Split operations, all of them or those at `positions`, into batches of at most `documents` and `size` bytes.

    A single larger operation is sent alone. An operation that would fail its whole request is not sent: its
    entry in `results` becomes DEAD.
    """
    batch = BulkBatch([], [], 0)
    for position in range(len(operations)) if positions is None else positions:
        operation = operations[position]
        action = encode_action(operation)
        if isinstance(action, Result):
            results[position] = action
            continue
        if batch.positions and (
            len(batch.positions) >= documents or batch.size + line_size(action, operation.body) > size
        ):
            yield batch
            batch = BulkBatch([], [], 0)
        batch.add(position, action, operation)
    if batch.positions:
        yield batch


def line_size(action: bytes, body: bytes | None) -> int:
    """Return the bytes that an operation takes in a request's body."""
    return len(action) + 1 if body is None else len(action) + len(body) + 2


def encode_action(operation: Operation) -> bytes | Result:
    """Return an operation's action line without its line end, or DEAD with the reason.

    This checks for input that Elasticsearch would reject the whole request for, or would parse as several lines.
    """
    body = operation.body
    try:
        encoded_id = orjson.dumps(operation.id)
        routing = operation.routing
        encoded_routing = b"" if routing is None else b',"routing":' + orjson.dumps(routing)
        pipeline = (
            b"" if operation.pipeline is None or body is None else b',"pipeline":' + orjson.dumps(operation.pipeline)
        )
        index = orjson.dumps(operation.alias)
    except orjson.JSONEncodeError:
        return _dead("id_not_unicode", "expected an id and a routing value that UTF-8 can encode")
    if len(encoded_id) > MAX_ID_BYTES + 2 and len(operation.id.encode()) > MAX_ID_BYTES:
        return _dead("id_too_long", f"expected an id of at most 512 bytes, found {len(operation.id.encode())}")
    if not operation.id:
        return _dead("id_empty", "expected an id, found an empty one")
    if not 0 <= operation.version <= MAX_VERSION:
        return _dead("version_out_of_range", f"expected a version of 0 to 2^63-1, found {operation.version}")
    if body is not None and (not body or b"\n" in body):
        return _dead("body_not_one_line", "expected a document on one line")
    return b'{"%b":{"_index":%b,"_id":%b%b%b,"version":%d,"version_type":"external_gte"}}' % (
        b"delete" if body is None else b"index",
        index,
        encoded_id,
        encoded_routing,
        pipeline,
        operation.version,
    )


def encode_guard(target: Target) -> bytes:
    """Return an action that writes nothing, but requires everything that a write requires.

    It is an update, without upsert, of a document that does not exist: it requires the alias, an open write
    index, an active shard, no block and the privilege to write, and then fails with
    `document_missing_exception`.
    """
    return b'{"update":{"_index":%b,"_id":"%b","routing":%b}}\n{"doc":{}}' % (
        orjson.dumps(target.alias),
        GUARD_ID.encode(),
        orjson.dumps(target.routing),
    )


def guard_failure(item: BulkItem) -> Failure | None:
    """Return the failure of an alias that a guard's item reports, or None if a write would have succeeded."""
    failure = item.failure
    if failure is None or failure.error_type == HEALTHY_GUARD:
        return None
    return failure if failure.kind in {FailureKind.OPERATOR, FailureKind.UNAVAILABLE} else None


def _dead(error_type: str, reason: str) -> Result:
    return Result(Outcome.DEAD, error_type, reason, status=0)
