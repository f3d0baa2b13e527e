"""The servers of Sunbird 8.0: a daemon that polls Cassandra 3.11 and writes to Elasticsearch 7.10."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sandbox.search_client import make_search_client
from tests.integration.daemon.stage import new_stage
from tests.integration.sources.poll.polled import poll, wait_equal
from tests.servers import make_sandbox


def test_polled_tables_of_cassandra_3_11_equal_their_documents_in_elasticsearch_7_10(tmp_path: Path) -> None:
    with (
        make_sandbox(cassandra="3.11", search="elasticsearch:7.10.2") as box,
        box.connect() as cql,
        make_search_client(box.elasticsearch.url) as elastic,
        new_stage(box, cql, elastic, tmp_path) as stage,
    ):
        stage.daemon.config["tail"] = "off"
        del stage.daemon.config["commit_log"]
        stage.create("person", "id text PRIMARY KEY, name text, tags map<text, int>", cdc=False)
        columns = "p int, c text, d int, n int, s int STATIC, seen set<text>, PRIMARY KEY (p, c, d)"
        stage.create("visit", columns, cdc=False)
        stage.map("person")
        stage.map("visit")
        how: dict[str, Any] = {"strategy": "scan", "deletes": {"every": "1s"}}
        stage.daemon.config["poll"] = [poll(stage, "person", **how), poll(stage, "visit", **how)]
        for number in range(30):
            stage.execute(
                "INSERT INTO {ks}.person (id, name, tags) VALUES (%s, %s, {'a': 1})", [f"p-{number}", f"n {number}"]
            )
            stage.execute(
                "INSERT INTO {ks}.visit (p, c, d, n, s, seen) VALUES (%s, %s, 1, %s, 7, {'x', 'y'})",
                [number % 5, f"c:{number}", number],
            )
        stage.daemon.run()
        wait_equal(stage, "person", "visit")

        stage.execute("UPDATE {ks}.visit SET seen = seen + {'z'}, n = 99 WHERE p = 1 AND c = 'c:1' AND d = 1")
        stage.execute("DELETE FROM {ks}.visit WHERE p = 2 AND c = 'c:2' AND d = 1")
        stage.execute("DELETE FROM {ks}.visit WHERE p = 3")
        stage.execute("DELETE FROM {ks}.person WHERE id = 'p-4'")
        wait_equal(stage, "person", "visit")
        assert stage.daemon.stop() == 0
