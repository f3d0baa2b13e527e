from __future__ import annotations

from cassandra.cluster import Session
from elasticsearch import AsyncElasticsearch

from sandbox import Sandbox
from sandbox.artifacts import ELASTICSEARCH_VERSION


def test_a_change_to_a_cdc_table_reaches_the_commit_log_and_cdc_raw(box: Sandbox, cql: Session, keyspace: str) -> None:
    cql.execute(f"CREATE TABLE {keyspace}.user (id text PRIMARY KEY, name text) WITH cdc = true")
    cql.execute(f"INSERT INTO {keyspace}.user (id, name) VALUES ('a-key-of-this-test', 'x')")

    assert cql.execute(f"SELECT name FROM {keyspace}.user").one().name == "x"
    segments = {path.name for path in box.cassandra.cdc_raw_directory.glob("CommitLog-7-*.log")}
    # Older segments may be in cdc_raw alone: what other tests wrote, flushed since.
    assert segments & {path.name for path in box.cassandra.commitlog_directory.iterdir()}


def test_nodetool_talks_to_the_node(box: Sandbox, keyspace: str) -> None:
    assert box.cassandra.nodetool("flush", keyspace) == ""
    assert "UN  127.0.0.1" in box.cassandra.nodetool("status")


async def test_elasticsearch_serves_the_official_client(box: Sandbox, index_prefix: str) -> None:
    index, alias = f"{index_prefix}1", f"{index_prefix}alias"
    async with AsyncElasticsearch(box.elasticsearch.url) as client:
        assert (await client.info())["version"]["number"] == ELASTICSEARCH_VERSION

        await client.indices.create(
            index=index,
            settings={"index.gc_deletes": "60s", "number_of_replicas": 0},
            mappings={"dynamic": "strict", "properties": {"name": {"type": "keyword"}}},
            aliases={alias: {"is_write_index": True}},
        )
        await client.indices.put_settings(index=index, settings={"refresh_interval": "-1"})
        await client.index(index=alias, id="1", document={"name": "a"}, version=5, version_type="external_gte")
        answer = await client.bulk(
            operations=[
                {"index": {"_index": alias, "_id": "2"}},
                {"name": "b"},
                {"index": {"_index": alias, "_id": "1", "version": 4, "version_type": "external_gte"}},
                {"name": "late"},
                {"index": {"_index": alias, "_id": "3"}},
                {"unknown": 1},
            ],
            require_alias=True,
        )
        assert [item["index"]["status"] for item in answer["items"]] == [201, 409, 400]

        await client.indices.refresh(index=alias)
        point = (await client.open_point_in_time(index=alias, keep_alive="1m"))["id"]
        found = await client.search(pit={"id": point}, sort=["_shard_doc"], query={"match_all": {}})
        await client.close_point_in_time(id=point)
        assert {hit["_id"]: hit["_source"]["name"] for hit in found["hits"]["hits"]} == {"1": "a", "2": "b"}
