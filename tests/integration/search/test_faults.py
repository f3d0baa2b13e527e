"""A bad document becomes a dead letter alone, and a fault that an operator has to fix costs no document."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from structlog.testing import capture_logs

from cdc_daemon.search import BulkWriter, Operation, Outcome
from tests.integration.search.conftest import Index
from tests.servers import unparsable

BAD = {
    unparsable(): b'{"age":"eleven"}',
    "strict_dynamic_mapping_exception": b'{"unknown":1}',
}


@pytest.mark.parametrize("error_type", BAD)
async def test_a_bad_document_is_dead_while_its_neighbours_are_written(
    index: Index, writer: BulkWriter, error_type: str
) -> None:
    good = index.write("a", age=11)
    bad = Operation(index.alias, "b", good.version, BAD[error_type], good.read_at)

    results = await writer.write([good, bad, index.write("c", age=12), index.delete("d")])

    assert [result.outcome for result in results] == [
        Outcome.INDEXED,
        Outcome.DEAD,
        Outcome.INDEXED,
        Outcome.DELETED,
    ]
    assert (results[1].error_type, results[1].status) == (error_type, 400)
    assert results[1].reason
    assert await index.keys() == {"a", "c"}
    assert writer.available


@pytest.mark.parametrize(
    "body", [b'{"age":', b"[1]", b'{"age":NaN}', b"nonsense", b'{"name":"' + b"x" * 40_000 + b'"}']
)
async def test_a_body_that_is_no_document_is_dead_alone(index: Index, writer: BulkWriter, body: bytes) -> None:
    good = index.write("a")

    results = await writer.write([Operation(index.alias, "b", good.version, body, good.read_at), good])

    assert [result.outcome for result in results] == [Outcome.DEAD, Outcome.INDEXED]
    assert await index.keys() == {"a"}


async def test_an_id_of_more_than_512_bytes_is_dead_alone(index: Index, writer: BulkWriter) -> None:
    longest = "é" * 256

    results = await writer.write([index.write(longest), index.write(longest + "x"), index.write("a")])

    assert [result.outcome for result in results] == [Outcome.INDEXED, Outcome.DEAD, Outcome.INDEXED]
    assert await index.keys() == {longest, "a"}


async def test_an_action_that_spoils_the_request_is_found(
    index: Index, writer: BulkWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cdc_daemon.search.bulk_body.MAX_ID_BYTES", 10_000)
    operations = [index.write("x" * 513 if number == 5 else str(number)) for number in range(9)]

    results = await writer.write(operations)

    assert [position for position, result in enumerate(results) if result.outcome is not Outcome.INDEXED] == [5]
    assert (results[5].outcome, results[5].error_type) == (Outcome.DEAD, "action_request_validation_exception")
    assert len(await index.keys()) == 8


async def test_too_many_fields_are_a_bad_document(index: Index, writer: BulkWriter) -> None:
    await index.client.indices.put_settings(index=index.name, settings={"index.mapping.total_fields.limit": 3})
    await index.client.indices.put_mapping(index=index.name, dynamic="true")

    results = await writer.write([index.write("a", name="x", new=1), index.write("b", name="y")])

    assert [result.outcome for result in results] == [Outcome.DEAD, Outcome.INDEXED]
    assert "total fields" in (results[0].reason or "")


async def set_block(index: Index, block: str, *, on: bool) -> None:
    await index.client.indices.put_settings(index=index.name, settings={f"index.blocks.{block}": on or None})


@asynccontextmanager
async def deleted_index(index: Index) -> AsyncIterator[None]:
    await index.client.indices.delete(index=index.name)
    yield
    await index.ensure()


@asynccontextmanager
async def removed_alias(index: Index) -> AsyncIterator[None]:
    await index.client.indices.delete_alias(index=index.name, name=index.alias)
    yield
    await index.client.indices.put_alias(index=index.name, name=index.alias)


@asynccontextmanager
async def closed_index(index: Index) -> AsyncIterator[None]:
    await index.client.indices.close(index=index.name)
    yield
    await index.client.indices.open(index=index.name)


@asynccontextmanager
async def blocked_index(index: Index) -> AsyncIterator[None]:
    await set_block(index, "write", on=True)
    yield
    await set_block(index, "write", on=False)


@asynccontextmanager
async def full_disk(index: Index) -> AsyncIterator[None]:
    await set_block(index, "read_only_allow_delete", on=True)
    yield
    await set_block(index, "read_only_allow_delete", on=False)


@asynccontextmanager
async def read_only_index(index: Index) -> AsyncIterator[None]:
    await set_block(index, "read_only", on=True)
    yield
    await set_block(index, "read_only", on=False)


@asynccontextmanager
async def no_write_index(index: Index) -> AsyncIterator[None]:
    await index.client.indices.put_alias(index=index.name, name=index.alias, is_write_index=False)
    yield
    await index.client.indices.put_alias(index=index.name, name=index.alias, is_write_index=True)


Fault = Callable[[Index], AbstractAsyncContextManager[None]]

FAULTS: dict[Fault, str] = {
    deleted_index: "index_not_found_exception",
    removed_alias: "index_not_found_exception",
    closed_index: "index_closed_exception",
    blocked_index: "cluster_block_exception",
    full_disk: "cluster_block_exception",
    read_only_index: "cluster_block_exception",
    no_write_index: "illegal_argument_exception",
}


async def wait_back(writer: BulkWriter) -> None:
    """Wait until every alias takes writes again."""
    async with asyncio.timeout(10):
        while writer.troubled:  # noqa: ASYNC110 -- nothing here is told of it
            await asyncio.sleep(0.01)


def deletions(index: Index) -> list[Operation]:
    return [index.delete("a"), index.delete("b")]


def documents(index: Index) -> list[Operation]:
    return [index.write("a"), index.write("b")]


def both(index: Index) -> list[Operation]:
    return [index.write("a"), index.delete("b")]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("make", [documents, deletions, both])
async def test_an_operators_fault_makes_it_wait_and_is_told_and_costs_nothing(
    index: Index,
    writer: BulkWriter,
    fault: Fault,
    make: Callable[[Index], list[Operation]],
) -> None:
    with capture_logs() as logs:
        async with fault(index):
            results = await writer.write(make(index))
            assert [result.outcome for result in results] == [Outcome.REREAD] * 2
            assert {result.error_type for result in results} == {FAULTS[fault]}
            assert writer.available
            await asyncio.sleep(0.3)
            assert list(writer.troubled) == [index.alias]
            results = await writer.write(make(index))
            assert [result.outcome for result in results] == [Outcome.REREAD] * 2
            assert not await index.client.indices.exists(index=index.alias) or fault not in {
                deleted_index,
                removed_alias,
            }
        await wait_back(writer)

    results = await writer.write(make(index))

    assert {result.outcome for result in results} <= {Outcome.INDEXED, Outcome.DELETED}
    assert await index.keys() == {operation.id for operation in make(index) if operation.body is not None}
    told = [entry for entry in logs if entry["event"].startswith("elasticsearch.") and "available" in entry["event"]]
    assert [entry["event"] for entry in told] == ["elasticsearch.alias_unavailable", "elasticsearch.alias_available"]
    assert told[0]["error_type"] == FAULTS[fault]
    assert told[0]["hint"]


async def test_nothing_is_created_by_writing_where_nothing_is(index: Index, writer: BulkWriter) -> None:
    names = [f"{index.alias}-{number}" for number in range(3)]
    plain = index.write("a")
    operations = [
        Operation(names[0], "a", plain.version, b"{}", plain.read_at),
        Operation(names[1], "a", plain.version, None, plain.read_at),
        Operation(names[2], "a", plain.version, b"{}", plain.read_at),
        Operation(names[2], "b", plain.version, None, plain.read_at),
        plain,
    ]

    results = await writer.write(operations)

    assert [result.outcome for result in results] == [Outcome.REREAD] * 4 + [Outcome.INDEXED]
    for name in names:
        assert not await index.client.indices.exists(index=name)


async def test_nothing_is_written_to_an_index_that_has_the_aliass_name(index: Index, writer: BulkWriter) -> None:
    await writer.write([index.write("a"), index.write("b")])
    to_the_index = Index(index.client, index.engine, index.name, "-")

    results = await writer.write([to_the_index.write("c"), to_the_index.delete("nothing")])

    assert [result.outcome for result in results] == [Outcome.REREAD] * 2
    assert await index.keys() == {"a", "b"}
