"""Operations as one bulk request: action lines, bodies, and how many fit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import orjson

from cdc_daemon.model.document_operation import Operation, Outcome, Result
from cdc_daemon.search.failure import Failure

MAX_ID_BYTES = 512
"""Longest `_id` in UTF-8 (Elasticsearch's `IndexRequest.MAX_DOCUMENT_ID_LENGTH_IN_BYTES`)."""

MAX_VERSION = 2**63 - 1
"""Versions are Java longs."""

GUARD_ID = "cdc-daemon-guard"
"""A document that nobody writes: see `encode_guard`."""


@dataclass(slots=True)
class Batch:
    """Operations that go in one bulk request.

    `positions` are places in the sequence of operations they came in, `actions` their encoded action lines
    in the same order, `size` the bytes of actions and bodies with their line ends.
    """

    positions: list[int]
    actions: list[bytes]
    size: int

    def __len__(self) -> int:
        return len(self.positions)

    def encode(self, operations: Sequence[Operation]) -> tuple[bytes, list[Target]]:
        """Return the request's body, and the guards that follow the operations in it.

        `require_alias` does not hold for deletions: one with an external version creates the missing index
        under the alias's name. It holds for the whole request as soon as one other action on the same alias
        is in it (`TransportBulkAction.populateMissingTargets`, 8.19), so an alias that gets deletions only
        is given a guard.
        """
        lines: list[bytes] = []
        written: set[str] = set()
        deleted: dict[str, Target] = {}
        for position, action in zip(self.positions, self.actions, strict=True):
            operation = operations[position]
            lines.append(action)
            if operation.body is None:
                deleted.setdefault(operation.index, Target.of(operation))
            else:
                lines.append(operation.body)
                written.add(operation.index)
        guards = [target for alias, target in deleted.items() if alias not in written]
        lines.extend(encode_guard(guard) for guard in guards)
        lines.append(b"")
        return b"\n".join(lines), guards

    def keep(self, positions: Iterable[int], operations: Sequence[Operation]) -> Batch:
        """Return the batch of only these of its positions."""
        wanted = set(positions)
        kept = Batch([], [], 0)
        for position, action in zip(self.positions, self.actions, strict=True):
            if position in wanted:
                kept.add(position, action, operations[position])
        return kept

    def halves(self, operations: Sequence[Operation]) -> tuple[Batch, Batch]:
        """Return the batch as two."""
        middle = len(self) // 2
        return self.keep(self.positions[:middle], operations), self.keep(self.positions[middle:], operations)

    def add(self, position: int, action: bytes, operation: Operation) -> None:
        """Append one operation."""
        self.positions.append(position)
        self.actions.append(action)
        self.size += line_size(action, operation.body)


@dataclass(frozen=True, slots=True)
class Target:
    """A shard to be written to: the alias, and a routing value that leads to that shard."""

    alias: str
    routing: str

    @classmethod
    def of(cls, operation: Operation) -> Target:
        """Return where an operation goes: without a routing value, the id is it."""
        return cls(operation.index, operation.id if operation.routing is None else operation.routing)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why Elasticsearch, or one alias, takes no writes: what it said, and the shards it said it of."""

    failure: Failure
    targets: tuple[Target, ...]


def split(operations: Sequence[Operation], results: list[Result], *, documents: int, size: int) -> Iterator[Batch]:
    """Split operations into batches of at most `documents` operations and `size` bytes.

    A single larger operation goes alone. An operation that would spoil its whole request is not sent: its
    entry in `results` becomes DEAD.
    """
    batch = Batch([], [], 0)
    for position, operation in enumerate(operations):
        action = encode_action(operation)
        if isinstance(action, Result):
            results[position] = action
            continue
        if batch.positions and (
            len(batch.positions) >= documents or batch.size + line_size(action, operation.body) > size
        ):
            yield batch
            batch = Batch([], [], 0)
        batch.add(position, action, operation)
    if batch.positions:
        yield batch


def line_size(action: bytes, body: bytes | None) -> int:
    """Return the bytes that an operation takes in a request's body."""
    return len(action) + 1 if body is None else len(action) + len(body) + 2


def encode_action(operation: Operation) -> bytes | Result:
    """Return an operation's action line without its line end, or DEAD with what is wrong with it.

    Checked is what Elasticsearch would refuse the whole request for, or what would be taken for several lines.
    """
    body = operation.body
    try:
        encoded_id = orjson.dumps(operation.id)
        routing = operation.routing
        encoded_routing = b"" if routing is None else b',"routing":' + orjson.dumps(routing)
        pipeline = (
            b"" if operation.pipeline is None or body is None else b',"pipeline":' + orjson.dumps(operation.pipeline)
        )
        index = orjson.dumps(operation.index)
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
    """Return an action that writes nothing, but needs everything that a write needs.

    It is an update, without upsert, of a document that does not exist: it asks for the alias, an open write
    index, an active shard, no block and the privilege to write, and then answers
    `document_missing_exception`.
    """
    return b'{"update":{"_index":%b,"_id":"%b","routing":%b}}\n{"doc":{}}' % (
        orjson.dumps(target.alias),
        GUARD_ID.encode(),
        orjson.dumps(target.routing),
    )


def _dead(error_type: str, reason: str) -> Result:
    return Result(Outcome.DEAD, error_type, reason, status=0)
