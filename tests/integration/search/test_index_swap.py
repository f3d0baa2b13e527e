"""Two indices of one alias on a real node: found, written, swapped, put back, let go and removed."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from elasticsearch import AsyncElasticsearch

from cdc_daemon.model.errors import ElasticsearchRefusedError, IndexSwapError
from cdc_daemon.search import BulkWriter, IndexDefinition, Operation, Outcome
from cdc_daemon.search.engine import SearchEngine
from cdc_daemon.search.index_swap import AliasIndices, Phase, direct, marker
from cdc_daemon.search.swap_steps import SwapSteps
from cdc_daemon.search.swap_watch import SwapFields, SwapWatch
from cdc_daemon.search.swap_writer import SwapWriter
from tests.integration.search.conftest import Index
from tests.servers import unparsable


@dataclass
class Daemon:
    """What one daemon has of it."""

    client: AsyncElasticsearch
    engine: SearchEngine
    watch: SwapWatch
    changes: SwapSteps
    writer: SwapWriter
    alias: str

    async def indices(self) -> AliasIndices:
        return (await self.watch.look())[self.alias]

    async def source(self, index: str | None, key: str) -> dict[str, Any] | None:
        found = await self.client.options(ignore_status=404).get(index=str(index), id=key)
        source: dict[str, Any] | None = found.get("_source")
        return source

    async def outcomes(self, *operations: Operation) -> list[Outcome]:
        return [result.outcome for result in await self.writer.write(operations)]


@pytest.fixture
async def make_daemon(
    client: AsyncElasticsearch, engine: SearchEngine, index: Index, make_writer: Callable[..., BulkWriter]
) -> AsyncIterator[Callable[..., Daemon]]:
    """Make daemons of the one alias."""
    made: list[Daemon] = []

    def make(**limits: Any) -> Daemon:
        watch = SwapWatch(engine, [index.alias])
        changes = SwapSteps(engine, watch, seconds=0)
        writer = SwapWriter(
            make_writer(engine),
            lambda: make_writer(engine),
            watch,
            stop_writes=changes.stop_writes,
            mark_behind=changes.mark_behind,
            **limits,
        )
        made.append(Daemon(client, engine, watch, changes, writer, index.alias))
        return made[-1]

    yield make
    for each in made:
        await each.writer.close()


@pytest.fixture
def daemon(make_daemon: Callable[..., Daemon]) -> Daemon:
    return make_daemon()


def next_index(index: Index, **mappings: Any) -> IndexDefinition:
    definition = replace(index.definition(), index=f"{index.name}-next")
    return replace(definition, mappings={**definition.mappings, **mappings})


async def begin(daemon: Daemon, index: Index, **mappings: Any) -> IndexDefinition:
    definition = next_index(index, **mappings)
    await daemon.changes.create(definition, await daemon.indices())
    return definition


async def test_a_single_index_has_no_second_one(daemon: Daemon, index: Index) -> None:
    indices = await daemon.indices()
    assert (indices.live, indices.other, indices.phase, indices.both_written, indices.shared) == (
        index.name,
        None,
        None,
        False,
        False,
    )
    assert await daemon.outcomes(index.write("a")) == [Outcome.INDEXED]
    assert await index.get("a") is not None


async def test_both_have_every_change_and_each_takes_the_others_place(daemon: Daemon, index: Index) -> None:
    await daemon.outcomes(index.write("old"))
    definition = await begin(daemon, index)
    indices = await daemon.indices()
    assert (indices.live, indices.other, indices.phase, indices.both_written) == (
        index.name,
        definition.index,
        Phase.BUILDING,
        True,
    )
    settings = (await daemon.client.indices.get_settings(index=definition.index, flat_settings=True)).body
    assert settings[definition.index]["settings"]["index.refresh_interval"] == "-1"
    written = await daemon.outcomes(index.write("a"), index.write("b"), index.delete("old"), index.delete("never"))
    assert written == [Outcome.INDEXED, Outcome.INDEXED, Outcome.DELETED, Outcome.DELETED]
    for each in (indices.live, indices.other):
        assert await daemon.source(each, "a") == {"name": "a"}
        assert await daemon.source(each, "old") is None
    late = index.write("never", version=5)
    assert await daemon.outcomes(late) == [Outcome.SUPERSEDED], "the removal is remembered in both"

    await daemon.changes.complete(definition, definition.index)
    settings = (await daemon.client.indices.get_settings(index=definition.index, flat_settings=True)).body
    assert "index.refresh_interval" not in settings[definition.index]["settings"]
    await daemon.client.indices.put_alias(index=index.name, name=f"{index.alias}-people", filter={"term": {"age": 1}})
    await daemon.changes.exchange(await daemon.indices())
    indices = await daemon.indices()
    assert (indices.live, indices.other, indices.phase, indices.both_written) == (
        definition.index,
        index.name,
        Phase.KEPT,
        True,
    )
    moved = (await daemon.client.indices.get_alias(name=f"{index.alias}-people")).body
    assert moved == {definition.index: {"aliases": {f"{index.alias}-people": {"filter": {"term": {"age": 1}}}}}}
    assert await index.keys() == {"a", "b"}

    assert await daemon.outcomes(index.delete("a"), index.write("c")) == [Outcome.DELETED, Outcome.INDEXED]
    await daemon.changes.exchange(await daemon.indices())
    indices = await daemon.indices()
    assert (indices.live, indices.other, indices.phase) == (index.name, definition.index, Phase.KEPT)
    assert await index.keys() == {"b", "c"}

    await daemon.changes.drop(await daemon.indices())
    indices = await daemon.indices()
    assert (indices.live, indices.other) == (index.name, None)
    assert not await daemon.client.indices.exists(index=definition.index)
    assert await daemon.outcomes(index.write("d"), index.delete("b")) == [Outcome.INDEXED, Outcome.DELETED]
    assert await index.keys() == {"c", "d"}


async def test_a_daemon_that_has_not_seen_the_swap_yet_misses_neither_index(
    make_daemon: Callable[..., Daemon], index: Index
) -> None:
    one, other = make_daemon(), make_daemon()
    await begin(one, index)
    await other.watch.look()
    await one.changes.exchange(await one.indices())
    assert other.watch.last[index.alias].live == index.name
    assert await other.outcomes(index.write("a"), index.delete("b")) == [Outcome.INDEXED, Outcome.DELETED]
    for each in (index.name, f"{index.name}-next"):
        assert await other.source(each, "a") == {"name": "a"}


async def test_what_an_index_refuses_that_is_live_by_now_is_settled_once_more(
    make_daemon: Callable[..., Daemon], index: Index
) -> None:
    one, other = make_daemon(), make_daemon()
    await begin(one, index, properties={"name": {"type": "integer"}})
    await other.watch.look()
    await one.changes.exchange(await one.indices())
    assert other.watch.last[index.alias].live == index.name
    assert await other.outcomes(index.write("a")) == [Outcome.REREAD], "it has not seen the swap"
    assert await other.outcomes(index.write("a", version=10**15)) == [Outcome.DEAD]
    assert not (await one.indices()).live_behind


async def test_a_late_write_makes_no_index_anew(make_daemon: Callable[..., Daemon], index: Index) -> None:
    one, other = make_daemon(), make_daemon()
    definition = await begin(one, index)
    await other.watch.look()
    await one.changes.drop(await one.indices())
    assert await other.outcomes(index.write("a"), index.delete("b")) == [Outcome.REREAD] * 2
    assert not await one.client.indices.exists(index=definition.index)
    assert not await one.client.indices.exists(index=direct(definition.index))
    await other.watch.look()
    assert await other.outcomes(index.write("a"), index.delete("b")) == [Outcome.INDEXED, Outcome.DELETED]


async def test_what_the_other_index_refuses_does_not_concern_the_live_one(daemon: Daemon, index: Index) -> None:
    await begin(daemon, index, properties={"name": {"type": "integer"}, "age": {"type": "integer"}})
    await daemon.watch.look()
    assert await daemon.outcomes(index.write("a"), index.write("b", age=1)) == [Outcome.INDEXED] * 2
    refused = daemon.writer.refused[index.alias]
    assert (refused.documents, refused.id) == (1, "a")
    assert unparsable() in refused.reason
    assert (await daemon.indices()).behind, "whatever daemon builds it knows that it is to be compared again"
    await daemon.changes.unmark_behind(index.alias, f"{index.name}-next")
    assert not (await daemon.indices()).behind
    assert await daemon.outcomes(index.write("a"), index.write("b", age=2)) == [Outcome.INDEXED] * 2
    assert (await daemon.indices()).behind

    await daemon.changes.exchange(await daemon.indices())
    assert not (await daemon.indices()).live_behind
    await daemon.changes.exchange(await daemon.indices())
    assert await daemon.outcomes(index.write("c")) == [Outcome.INDEXED]
    indices = await daemon.indices()
    assert (indices.phase, indices.behind, indices.both_written) == (Phase.KEPT, True, True)


async def test_an_index_that_takes_nothing_is_let_go(make_daemon: Callable[..., Daemon], index: Index) -> None:
    daemon = make_daemon(patience=0.1)
    definition = await begin(daemon, index)
    await daemon.watch.look()
    await daemon.client.indices.put_settings(index=definition.index, settings={"index.blocks.write": True})
    until = time.monotonic() + 60
    while (await daemon.outcomes(index.write("a"))) != [Outcome.INDEXED]:
        assert daemon.writer.available, "the live index takes writes all the while"
        assert time.monotonic() < until
    indices = await daemon.indices()
    assert (indices.phase, indices.both_written, indices.behind) == (Phase.BUILDING, False, True)
    await daemon.client.indices.put_settings(index=definition.index, settings={"index.blocks.write": None})
    await daemon.changes.resume_writes(indices)
    indices = await daemon.indices()
    assert (indices.both_written, indices.behind) == (True, True), "it lacks what was written meanwhile"
    assert await daemon.outcomes(index.write("b")) == [Outcome.INDEXED]
    assert await daemon.source(definition.index, "b") is not None


async def test_a_swap_is_all_or_nothing(daemon: Daemon, index: Index) -> None:
    definition = await begin(daemon, index)
    indices = await daemon.indices()
    await daemon.client.indices.delete_alias(index=definition.index, name=marker(index.alias, Phase.BUILDING))
    with pytest.raises(ElasticsearchRefusedError, match="swap the indices"):
        await daemon.changes.exchange(indices)
    after = await daemon.indices()
    assert (after.live, after.other) == (index.name, None)


async def test_only_an_index_that_is_marked_is_deleted(daemon: Daemon, index: Index) -> None:
    definition = await begin(daemon, index)
    before = await daemon.indices()
    await daemon.changes.exchange(before)
    with pytest.raises(ElasticsearchRefusedError, match="mark the index"):
        await daemon.changes.drop(before)
    assert (await daemon.indices()).live == definition.index


async def test_names_that_are_taken(daemon: Daemon, index: Index) -> None:
    definition = next_index(index)
    assert await daemon.changes.free_name(definition, index.name) == definition.index
    await daemon.client.indices.create(index=definition.index)
    free = await daemon.changes.free_name(definition, f"{index.name}-000009")
    assert free == f"{index.name}-000010"
    with pytest.raises(IndexSwapError, match="an index of that name"):
        await daemon.changes.create(definition, await daemon.indices())
    await daemon.client.indices.create(index=marker(index.alias, Phase.KEPT))
    with pytest.raises(IndexSwapError, match="to be free"):
        await daemon.changes.create(replace(definition, index=free), await daemon.indices())


async def test_new_fields_reach_both(daemon: Daemon, index: Index) -> None:
    definition = await begin(daemon, index)
    await daemon.watch.look()
    fields = SwapFields(daemon.engine, daemon.watch)
    assert (await fields.complete(index.alias, {"city": {"type": "keyword"}}, add=True)).added == ("city",)
    assert await daemon.outcomes(index.write("a", city="Ulm")) == [Outcome.INDEXED]
    assert await daemon.source(definition.index, "a") == {"city": "Ulm"}
    assert await daemon.changes.drift(definition, definition.index) == []
