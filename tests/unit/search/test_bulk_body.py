"""How operations become requests: bounds, encoding, and what is taken apart or never sent."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from cdc_daemon.search import Operation, Outcome, Result
from cdc_daemon.search.bulk_body import encode_action, split
from tests.unit.search.conftest import NOW, Bench
from tests.unit.search.fake import Seen, parse_bulk, refused, refusing, saying, succeed

ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
documents = st.dictionaries(st.text(max_size=5), st.text(max_size=30) | st.integers() | st.none(), max_size=4)
bodies = st.none() | documents.map(lambda document: json.dumps(document).encode())
operation_lists = st.lists(
    st.builds(
        Operation,
        alias=st.sampled_from(["users", "orders", "alias mit \u00fc"]),
        id=ids,
        version=st.integers(0, 2**63 - 1),
        body=bodies,
        read_at=st.just(0.0),
        routing=st.none() | ids,
    ),
    max_size=30,
)


def pending(count: int) -> list[Result]:
    return [Result(Outcome.REREAD)] * count


@given(operation_lists, st.integers(1, 8), st.integers(1, 600))
def test_splitting_keeps_order_bounds_and_every_operation(
    operations: list[Operation], most: int, most_bytes: int
) -> None:
    batches = list(split(operations, pending(len(operations)), documents=most, size=most_bytes))

    assert [position for batch in batches for position in batch.positions] == list(range(len(operations)))
    for batch in batches:
        assert 1 <= len(batch) <= most
        assert batch.size <= most_bytes or len(batch) == 1
    for batch, following in pairwise(batches):
        if len(batch) < most:
            first = following.keep(following.positions[:1], operations)
            assert batch.size + first.size > most_bytes


@given(operation_lists.filter(bool))
def test_what_is_sent_is_what_was_given(operations: list[Operation]) -> None:
    (batch,) = split(operations, pending(len(operations)), documents=1000, size=1 << 30)
    body, guards = batch.encode(operations)
    actions = parse_bulk(body)

    assert len(actions) == len(operations) + len(guards)
    for operation, (action, meta, document) in zip(operations, actions, strict=False):
        routing = {} if operation.routing is None else {"routing": operation.routing}
        assert meta == {
            "_index": operation.alias,
            "_id": operation.id,
            "version": operation.version,
            "version_type": "external_gte",
            **routing,
        }
        assert action == ("delete" if operation.body is None else "index")
        assert document == (None if operation.body is None else json.loads(operation.body))
    written = {operation.alias for operation in operations if operation.body is not None}
    deleted = {operation.alias for operation in operations if operation.body is None}
    assert {guard.alias for guard in guards} == deleted - written
    if not guards:
        assert len(body) == batch.size


@given(operation_lists.filter(lambda operations: len(operations) > 1))
def test_halves_make_up_the_whole(operations: list[Operation]) -> None:
    (batch,) = split(operations, pending(len(operations)), documents=1000, size=1 << 30)
    first, second = batch.halves(operations)

    assert first.positions + second.positions == batch.positions
    assert first.actions + second.actions == batch.actions
    assert first.size + second.size == batch.size
    assert len(first) > 0
    assert len(second) > 0


POISON: dict[str, dict[str, Any]] = {
    "id_too_long": {"id": "é" * 256 + "x"},
    "id_empty": {"id": ""},
    "id_not_unicode": {"id": "\ud800"},
    "version_out_of_range": {"version": 2**63},
    "body_not_one_line": {"body": b'{"a":1}\n{"delete":{"_id":"x"}}'},
}


@pytest.mark.parametrize("error_type", POISON)
async def test_what_would_spoil_the_whole_request_is_not_sent(bench: Bench, error_type: str) -> None:
    fields: dict[str, Any] = {"alias": "users", "id": "a", "version": NOW, "body": b"{}", "read_at": bench.monotonic()}

    results = await bench.writer().write(
        [bench.index("b"), Operation(**(fields | POISON[error_type])), bench.index("c")]
    )

    assert [result.outcome for result in results] == [Outcome.INDEXED, Outcome.DEAD, Outcome.INDEXED]
    assert (results[1].error_type, results[1].status) == (error_type, 0)
    assert [seen.ids for seen in bench.server.requests] == [["b", "c"]]


@pytest.mark.parametrize(
    "fields",
    [{"version": -1}, {"body": b""}, {"routing": "\udfff"}, {"alias": "\ud800"}],
)
def test_what_cannot_be_encoded_is_dead(fields: dict[str, Any]) -> None:
    whole: dict[str, Any] = {"alias": "users", "id": "a", "version": NOW, "body": b"{}", "read_at": 0.0}

    action = encode_action(Operation(**(whole | fields)))

    assert isinstance(action, Result)
    assert action.outcome is Outcome.DEAD


@pytest.mark.parametrize("name", ["é" * 256, '"' * 512, "\x00" * 512])
def test_an_id_of_512_bytes_is_not_too_long(name: str) -> None:
    assert isinstance(encode_action(Operation("users", name, 1, b"{}", 0.0)), bytes)


async def test_a_poisonous_operation_is_found_by_halving(bench: Bench) -> None:
    async def choke(seen: Seen, request: web.Request) -> web.StreamResponse:
        if "d" in seen.ids:
            return refused(400, "x_content_parse_exception", "malformed")
        return await succeed(seen, request)

    bench.server.script.extend([choke] * 20)
    writer = bench.writer()

    results = await writer.write([bench.index(name) for name in "abcdefgh"])

    assert [result.outcome for result in results] == [
        Outcome.DEAD if name == "d" else Outcome.INDEXED for name in "abcdefgh"
    ]
    assert (results[3].error_type, results[3].reason) == ("x_content_parse_exception", "malformed")
    assert writer.available
    assert [len(seen.ids) for seen in bench.server.requests] == [8, 4, 2, 2, 1, 1, 4]


async def test_a_request_that_is_too_large_is_halved_and_later_ones_are_smaller(bench: Bench) -> None:
    bound = 200_000

    async def proxy(seen: Seen, request: web.Request) -> web.StreamResponse:
        if seen.size > bound:
            return await saying(413, "<html>Request Entity Too Large</html>")(seen, request)
        return await succeed(seen, request)

    bench.server.script.extend([proxy] * 50)
    body = b'{"a":"' + b"x" * 40_000 + b'"}'
    operations = [Operation("users", str(number), NOW, body, bench.monotonic()) for number in range(8)]
    writer = bench.writer()

    with capture_logs() as logs:
        results = await writer.write(operations)
        first = len(bench.server.requests)
        await writer.write(operations)

    assert {result.outcome for result in results} == {Outcome.INDEXED}
    assert [len(seen.ids) for seen in bench.server.requests[:first]] == [8, 4, 4]
    assert all(seen.size <= bound for seen in bench.server.requests[first:])
    assert [entry["event"] for entry in logs] == ["elasticsearch.request_too_large"]


async def test_a_document_that_is_too_large_by_itself_is_dead(bench: Bench) -> None:
    bench.server.script.append(saying(413, "too large"))
    writer = bench.writer()

    (result,) = await writer.write([bench.index("a")])

    assert (result.outcome, result.status) == (Outcome.DEAD, 413)
    assert writer.available


async def test_a_document_larger_than_a_request_goes_alone(bench: Bench) -> None:
    large = Operation("users", "large", NOW, b'{"a":"' + b"x" * 3_000_000 + b'"}', bench.monotonic())

    results = await bench.writer(size=1000).write([bench.index("a"), large, bench.index("b")])

    assert {result.outcome for result in results} == {Outcome.INDEXED}
    assert sorted(seen.ids for seen in bench.server.requests) == [["a"], ["b"], ["large"]]


async def test_halving_ends_when_the_server_goes_away(bench: Bench) -> None:
    bench.server.script.extend([refusing(400, "parse_exception"), refusing(503, "exception")])
    bench.server.probe_script.extend([refusing(503, "exception")] * 1000)

    results = await bench.writer().write([bench.index(name) for name in "abcd"])

    assert {result.outcome for result in results} == {Outcome.REREAD}
    assert len(bench.server.requests) == 2
