"""The comparison on real servers: it has to see every kind of difference, or its EQUAL is worth nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
from cassandra.cluster import Session
from elasticsearch import AsyncElasticsearch

from cdc_daemon.cassandra.schema import SchemaSource
from cdc_daemon.config import MappingSettings
from cdc_daemon.document.bookkeeping import CLUSTERING_FIELD, PARTITION_FIELD
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.errors import ElasticsearchRefusedError
from cdc_daemon.model.signal import TableName
from cdc_daemon.search import SearchEngine
from sandbox import Sandbox
from sandbox.compare import Comparison, _projected, compare_mapping
from sandbox.search_client import make_async_search_client
from tests.integration.search.conftest import connected


class _Both(NamedTuple):
    """The connections to both servers."""

    session: Session
    client: AsyncElasticsearch
    engine: SearchEngine


@dataclass
class _Pair:
    """A table and an index that a mapping ties together."""

    session: Session
    client: AsyncElasticsearch
    engine: SearchEngine
    mapping: DocumentMapping

    async def copy(self) -> None:
        """Write each row's document, as the daemon would."""
        async for page in _projected(self.session, self.mapping, Comparison("copy")):
            for document in page:
                await self.client.index(
                    index=self.mapping.alias,
                    id=document.id,
                    document=self.client.transport.serializers.loads(document.body, "application/json"),
                )

    async def compare(self) -> Comparison:
        return await compare_mapping(self.session, self.engine, self.mapping)


@pytest.fixture
async def client(box: Sandbox) -> AsyncIterator[AsyncElasticsearch]:
    async with make_async_search_client(box.elasticsearch.url) as client:
        yield client


@pytest.fixture
async def engine(box: Sandbox) -> AsyncIterator[SearchEngine]:
    async with connected(box) as engine:
        yield engine


@pytest.fixture
def both(cql: Session, client: AsyncElasticsearch, engine: SearchEngine) -> _Both:
    return _Both(cql, client, engine)


async def _pair(both: _Both, table: TableName, alias: str, **settings: Any) -> _Pair:
    cql, client, engine = both
    source = SchemaSource(cql)
    await source.refresh()
    declared = MappingSettings.model_validate({"table": str(table), "alias": alias, **settings})
    mapping = DocumentMapping("things", declared, source.table(table))
    await client.indices.create(
        index=f"{alias}-000001",
        aliases={alias: {}},
        settings={"number_of_replicas": 0},
        mappings={
            **mapping.index_mapping(),
            "properties": {**mapping.index_mapping()["properties"], **mapping.bookkeeping},
        },
    )
    return _Pair(cql, client, engine, mapping)


async def test_each_kind_of_difference_is_found_and_no_other(
    cql: Session, keyspace: str, client: AsyncElasticsearch, both: _Both, index_prefix: str
) -> None:
    cql.execute(f"CREATE TABLE {keyspace}.t (id text PRIMARY KEY, v int, m map<text, text>, at timestamp)")
    for number in range(1200):  # more than two pages
        cql.execute(
            f"INSERT INTO {keyspace}.t (id, v, m, at) VALUES (%s, %s, {{'a': 'b'}}, toTimestamp(now()))",
            [f"id-{number}", number],
        )
    pair = await _pair(both, TableName(keyspace, "t"), f"{index_prefix}t", fields={"v": "value"}, nulls="keep")
    await pair.copy()

    equal = await pair.compare()
    assert equal.is_equal, equal
    assert (equal.rows, equal.documents) == (1200, 1200)

    await client.delete(index=pair.mapping.alias, id="id-7")
    await client.index(index=pair.mapping.alias, id="id-stranger", document={"value": 1})
    await client.update(index=pair.mapping.alias, id="id-9", doc={"value": -9})
    cql.execute(f"DELETE m FROM {keyspace}.t WHERE id = 'id-10'")
    cql.execute(f"DELETE FROM {keyspace}.t WHERE id = 'id-11'")

    found = await pair.compare()
    assert not found.is_equal
    assert (found.rows, found.documents) == (1199, 1200)
    assert found.missing.examples == ["id-7"]
    assert sorted(found.extra.examples) == ["id-11", "id-stranger"]
    assert sorted(found.different.examples) == [
        'id-10: m: null in Cassandra, {"a":"b"} in Elasticsearch',
        "id-9: value: 9 in Cassandra, -9 in Elasticsearch",
    ]


async def test_composite_keys_clustering_columns_and_statics(
    cql: Session, keyspace: str, client: AsyncElasticsearch, both: _Both, index_prefix: str
) -> None:
    cql.execute(
        f"CREATE TABLE {keyspace}.t (a text, b int, c timeuuid, d text, s text static, v text, "
        "PRIMARY KEY ((a, b), c, d))"
    )
    for number in range(20):
        cql.execute(
            f"INSERT INTO {keyspace}.t (a, b, c, d, s, v) VALUES (%s, 1, now(), 'd:\\', 'static', 'v')", [f"a{number}"]
        )
    cql.execute(f"INSERT INTO {keyspace}.t (a, b, s) VALUES ('nothing but a static', 1, 'static')")
    pair = await _pair(both, TableName(keyspace, "t"), f"{index_prefix}t")
    await pair.copy()

    equal = await pair.compare()
    assert equal.is_equal, equal
    assert (equal.rows, equal.documents) == (20, 20)

    await client.indices.refresh(index=pair.mapping.alias)
    answer = await client.search(index=pair.mapping.alias, size=1)
    source = answer["hits"]["hits"][0]["_source"]
    key = bytes.fromhex(source[PARTITION_FIELD])
    assert pair.mapping.table.key_values(key) == (source["a"], source["b"])
    assert bytes.fromhex(source[CLUSTERING_FIELD][1]) == b"d:\\"

    cql.execute(f"UPDATE {keyspace}.t SET s = 'other' WHERE a = 'a3' AND b = 1")
    cql.execute(f"DELETE FROM {keyspace}.t WHERE a = 'a4' AND b = 1")
    found = await pair.compare()
    assert (found.different.count, found.extra.count, found.missing.count) == (1, 1, 0)
    assert 's: "other" in Cassandra, "static" in Elasticsearch' in found.different.examples[0]


async def test_empty_is_equal_to_empty_and_no_index_is_an_error(
    cql: Session, keyspace: str, client: AsyncElasticsearch, both: _Both, index_prefix: str
) -> None:
    cql.execute(f"CREATE TABLE {keyspace}.t (id text PRIMARY KEY)")
    pair = await _pair(both, TableName(keyspace, "t"), f"{index_prefix}t")
    assert (await pair.compare()).is_equal

    await client.indices.delete(index=f"{pair.mapping.alias}-000001")
    with pytest.raises(ElasticsearchRefusedError):
        await pair.compare()
