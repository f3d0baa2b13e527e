"""Indices and aliases on a real node."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from elasticsearch import AsyncElasticsearch

from cdc_daemon.model.errors import ElasticsearchRefusedError, ElasticsearchUnavailableError, IndexRefusedError
from cdc_daemon.search import IndexManager, SearchEngine
from tests.integration.search.conftest import Index


@pytest.fixture
def absent(client: AsyncElasticsearch, engine: SearchEngine, index_prefix: str) -> Index:
    return Index(client, engine, f"{index_prefix}alias", f"{index_prefix}1")


@pytest.fixture
def manager(engine: SearchEngine) -> IndexManager:
    return IndexManager(engine)


async def mappings(index: Index) -> dict[str, object]:
    found = await index.client.indices.get_mapping(index=index.name)
    result: dict[str, object] = found[index.name]["mappings"]
    return result


async def test_an_absent_index_is_created_with_its_alias(absent: Index, manager: IndexManager) -> None:
    ensured = await manager.ensure(absent.definition(**{"index.gc_deletes": "90s"}))

    assert (ensured.index, ensured.created, ensured.added, ensured.gc_deletes) == (absent.name, True, (), 90.0)
    found = await absent.client.indices.get(index=absent.alias)
    assert found[absent.name]["aliases"] == {absent.alias: {"is_write_index": True}}
    assert await mappings(absent) == {
        "dynamic": "strict",
        "properties": {
            "_partition": {"type": "keyword"},
            "age": {"type": "integer"},
            "name": {"type": "keyword"},
        },
    }


async def test_mappings_are_strict_unless_they_say_otherwise(absent: Index, manager: IndexManager) -> None:
    definition = replace(absent.definition(), mappings={"dynamic": "false", "properties": {}})
    await manager.ensure(definition)
    assert (await mappings(absent))["dynamic"] == "false"
    await absent.client.indices.delete(index=absent.name)

    await manager.ensure(replace(definition, mappings={}))
    assert (await mappings(absent))["dynamic"] == "strict"


async def test_what_is_there_stays(index: Index, manager: IndexManager) -> None:
    before = await index.client.indices.get(index=index.name)

    ensured = await manager.ensure(replace(index.definition(), index=index.name + "-other"))

    assert (ensured.index, ensured.created, ensured.added, ensured.gc_deletes) == (index.name, False, (), 60.0)
    assert (await index.client.indices.get(index=index.name)).body == before.body


async def test_many_daemons_at_once_make_one_index(absent: Index, manager: IndexManager) -> None:
    ensured = await asyncio.gather(*(manager.ensure(absent.definition()) for _ in range(12)))

    assert {each.index for each in ensured} == {absent.name}
    assert sum(each.created for each in ensured) == 1


async def test_many_daemons_with_different_index_names_are_told_to_agree(absent: Index, manager: IndexManager) -> None:
    definitions = [replace(absent.definition(), index=f"{absent.name}-{number}") for number in range(6)]

    await asyncio.gather(*(manager.ensure(definition) for definition in definitions), return_exceptions=True)

    with_alias = await absent.client.indices.get_alias(name=absent.alias)
    flagged = [name for name, entry in with_alias.items() if entry["aliases"][absent.alias].get("is_write_index")]
    assert len(flagged) == 1
    assert (await manager.ensure(absent.definition())).index == flagged[0]


async def test_missing_fields_of_ours_are_added_by_whoever_comes_first(index: Index, manager: IndexManager) -> None:
    extra = {"_partition": {"type": "keyword"}, "_token": {"type": "keyword"}, "_read": {"type": "long"}}
    definition = replace(index.definition(), extra_properties=extra)

    ensured = await asyncio.gather(*(manager.ensure(definition) for _ in range(4)))

    assert any(each.added == ("_token", "_read") for each in ensured)
    assert (await manager.ensure(definition)).added == ()
    properties = (await mappings(index))["properties"]
    assert isinstance(properties, dict)
    assert properties.items() >= extra.items()


async def test_only_the_write_index_is_completed(index: Index, manager: IndexManager) -> None:
    await index.client.indices.create(index=index.name + "-new", settings={"number_of_replicas": 0})
    await index.client.indices.update_aliases(
        actions=[
            {"add": {"index": index.name, "alias": index.alias, "is_write_index": False}},
            {"add": {"index": index.name + "-new", "alias": index.alias, "is_write_index": True}},
        ]
    )

    ensured = await manager.ensure(index.definition())

    assert (ensured.index, ensured.added) == (index.name + "-new", ("_partition",))


async def test_a_field_of_ours_mapped_otherwise_is_refused(index: Index, manager: IndexManager) -> None:
    definition = replace(index.definition(), extra_properties={"age": {"type": "keyword"}})

    with pytest.raises(ElasticsearchRefusedError, match="expected the field 'age' to be mapped as 'keyword'"):
        await manager.ensure(definition)


async def test_an_index_of_the_aliass_name_is_refused(index: Index, manager: IndexManager) -> None:
    with pytest.raises(ElasticsearchRefusedError, match="expected an alias, found an index of that name") as caught:
        await manager.ensure(replace(index.definition(), alias=index.name))
    assert caught.value.hint


async def test_an_alias_without_write_index_is_refused(index: Index, manager: IndexManager) -> None:
    await index.client.indices.put_alias(index=index.name, name=index.alias, is_write_index=False)

    with pytest.raises(ElasticsearchRefusedError, match="one write index") as caught:
        await manager.ensure(index.definition())
    assert caught.value.hint


async def test_an_index_that_lost_its_alias_is_refused(index: Index, manager: IndexManager) -> None:
    await index.client.indices.delete_alias(index=index.name, name=index.alias)

    with pytest.raises(ElasticsearchRefusedError, match="the alias does not lead to it") as caught:
        await manager.ensure(index.definition())
    assert caught.value.hint


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"mappings": {"properties": {"x": {"type": "nonsense"}}}}, r"type \[nonsense\] declared on field \[x\]"),
        ({"mappings": {"properties": {"x": {"type": "text", "analyzer": "absent"}}}}, r"analyzer \[absent\]"),
        ({"mappings": {"properties": {"_partition": {"type": "text"}}}}, "'_partition' to be mapped as 'keyword'"),
        ({"settings": {"index.number_of_replicas": "many"}}, "number_of_replicas"),
        ({"settings": {"index.nonsense": 1}}, "index.nonsense"),
        ({"settings": {"analysis": {"analyzer": {"a": {"tokenizer": "absent"}}}}}, r"tokenizer under name \[absent\]"),
        ({"index": "Upper-Case"}, "must be lowercase"),
    ],
)
async def test_a_declaration_that_will_never_be_taken_is_told_from_trouble(
    absent: Index, manager: IndexManager, change: dict[str, Any], reason: str
) -> None:
    definition = replace(absent.definition(), **change)
    with pytest.raises(IndexRefusedError, match=reason) as caught:
        await manager.ensure(definition)
    assert caught.value.where["alias"] == absent.alias
    assert not caught.value.retryable
    assert not await absent.client.indices.exists(index=definition.index)


async def test_a_declaration_is_tried_out_and_nothing_created(absent: Index, manager: IndexManager) -> None:
    await manager.try_out(absent.definition())
    for change in ({"mappings": {"properties": {"x": {"type": "nonsense"}}}}, {"settings": {"index.nonsense": 1}}):
        with pytest.raises(IndexRefusedError, match="nonsense"):
            await manager.try_out(replace(absent.definition(), **change))
    assert not await absent.client.indices.exists(index=[absent.alias, absent.name])


async def test_the_memory_for_deletions_is_the_shortest_behind_the_alias(index: Index, manager: IndexManager) -> None:
    assert await manager.gc_deletes(index.alias) == 60.0
    await index.client.indices.create(
        index=index.name + "-old",
        aliases={index.alias: {"is_write_index": False}},
        settings={"index.gc_deletes": "500ms", "number_of_replicas": 0},
    )
    assert await manager.gc_deletes(index.alias) == 0.5
    with pytest.raises((ElasticsearchRefusedError, ElasticsearchUnavailableError), match="no-such-alias"):
        await manager.gc_deletes("no-such-alias")
