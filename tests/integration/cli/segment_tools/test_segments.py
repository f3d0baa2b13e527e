from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cdc_daemon.cassandra.schema import SchemaSource
from cdc_daemon.store import Store
from tests.integration.cli.segment_tools.conftest import Node

PATIENCE = 30.0
MakeKeyspace = Callable[[str], str]


def _dumped(node: Node, keyspace: str, *options: object) -> list[dict[str, Any]]:
    result = node.run("segments", "dump", "--keyspace", keyspace, *options, node.cdc_raw)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def _dumped_at_least(count: int, node: Node, keyspace: str, *options: object) -> list[dict[str, Any]]:
    """Dump until Cassandra has put a marker behind what was written."""
    until = time.monotonic() + PATIENCE
    while len(found := _dumped(node, keyspace, *options)) < count and time.monotonic() < until:
        time.sleep(0.2)
    assert len(found) == count
    return found


def _remember(node: Node) -> None:
    """What a daemon does at its start and at every change, and then it is gone."""
    store = Store(node.state)
    try:
        asyncio.run(SchemaSource(node.session, history=store.schema_history).refresh())
    finally:
        store.close()


def test_live_schema_and_snapshot_read_the_same(node: Node, keyspace: MakeKeyspace, tmp_path: Path) -> None:
    name = keyspace("exported")
    execute = node.session.execute
    execute(f'CREATE TYPE {name}."Place" (street text, tags frozen<set<text>>)')
    execute(
        f'CREATE TABLE {name}.orders (id uuid, line int, sent timestamp, note text static, home "Place",'
        " tags set<text>, counted map<text, int>, price decimal, gone int, PRIMARY KEY (id, line))"
        " WITH cdc = true AND CLUSTERING ORDER BY (line DESC)"
    )
    execute(f"CREATE TABLE {name}.counts (id text PRIMARY KEY, n counter)")
    execute(
        f"INSERT INTO {name}.orders (id, line, sent, note, home, tags, counted, price, gone) VALUES (uuid(), 1, "
        "'2026-01-02', 'n', {street: 's', tags: {'a'}}, {'x', 'y'}, {'k': 1}, 1.50, 7)"
    )
    execute(f"INSERT INTO {name}.orders (id, line) VALUES (uuid(), 2) USING TTL 1000")
    execute(f"DELETE FROM {name}.orders WHERE id = 11111111-1111-1111-1111-111111111111 AND line > 3")
    execute(f"ALTER TABLE {name}.orders DROP gone")
    execute(f"INSERT INTO {name}.orders (id, line) VALUES (uuid(), 3)")
    execute(f"UPDATE {name}.counts SET n = n + 3 WHERE id = 'x'")
    file = tmp_path / "schema.json"
    assert node.run("schema", "export", "--config", node.config, "-o", file).exit_code == 0
    live = _dumped_at_least(5, node, name, "--config", node.config)
    assert _dumped(node, name, "--schema", file) == live
    raw = _dumped(node, name, "--raw", "--config", node.config)
    assert _dumped(node, name, "--raw", "--schema", file) == raw
    assert [each["position"] for each in raw] == [each["position"] for each in live]
    first = live[0]["rows"][0]["columns"]
    assert (first["sent"]["value"], first["price"]["value"]) == ("2026-01-02T00:00:00.000Z", "1.50")
    assert [cell["path"] for cell in first["tags"]["cells"]] == ["x", "y"]
    assert "gone" not in first, "written before the drop"
    only = json.loads(node.run("schema", "export", "--config", node.config, "--keyspace", name).stdout)
    assert {row["table_name"] for row in only["tables"]} == {"orders", "counts"}
    assert only["dropped_columns"][0]["column_name"] == "gone"


def test_the_other_commands_on_a_live_folder(node: Node, keyspace: MakeKeyspace) -> None:
    name = keyspace("looked_at")
    node.session.execute(f"CREATE TABLE {name}.t (id int PRIMARY KEY, v text) WITH cdc = true")
    for number in range(50):
        node.session.execute(f"INSERT INTO {name}.t (id, v) VALUES ({number}, 'v')")
    _dumped_at_least(50, node, name, "--config", node.config)
    assert node.run("segments", "verify", node.cdc_raw).exit_code == 0
    counted = node.run("segments", "stats", "--json", "--config", node.config, "--keyspace", name, node.cdc_raw)
    (table,) = json.loads(counted.stdout)["tables"]
    assert (table["table"], table["mutations"], table["partitions"], table["rows"]) == (f"{name}.t", 50, 50, 50)
    listed = json.loads(node.run("segments", "list", "--json", "--config", node.config).stdout)
    assert sum(each["tables"].get(f"{name}.t", 0) for each in listed) == 50


def test_a_segment_from_before_alter_drop_and_create_reads_after_a_restart(node: Node, keyspace: MakeKeyspace) -> None:
    name = keyspace("changing")
    execute = node.session.execute
    execute(f"CREATE TYPE {name}.pair (a int, b int)")
    execute(f"CREATE TABLE {name}.again (id int PRIMARY KEY, v int, p frozen<pair>) WITH cdc = true")
    execute(f"CREATE TABLE {name}.gone (id int, c text, v bigint, PRIMARY KEY (id, c)) WITH cdc = true")
    execute(f"INSERT INTO {name}.again (id, v, p) VALUES (1, 10, {{a: 1, b: 2}})")
    execute(f"INSERT INTO {name}.gone (id, c, v) VALUES (1, 'x', 11)")
    _remember(node)
    execute(f"ALTER TABLE {name}.again DROP v")
    execute(f"ALTER TABLE {name}.again ADD w text")
    execute(f"INSERT INTO {name}.again (id, w) VALUES (2, 'w')")
    _remember(node)
    execute(f"DROP TABLE {name}.again")
    execute(f"DROP TABLE {name}.gone")
    execute(f"DROP TYPE {name}.pair")
    execute(f"CREATE TABLE {name}.again (id text PRIMARY KEY, v text) WITH cdc = true")
    execute(f"INSERT INTO {name}.again (id, v) VALUES ('new', 'text now')")
    _remember(node)
    found = _dumped_at_least(4, node, name, "--config", node.config)
    assert [(each["table"], list(each["partition_key"].values())) for each in found] == [
        ("again", [1]),
        ("gone", [1]),
        ("again", [2]),
        ("again", ["new"]),
    ]
    values = [{key: cell["value"] for key, cell in each["rows"][0]["columns"].items()} for each in found]
    assert values == [{"p": {"a": 1, "b": 2}}, {"v": 11}, {"w": "w"}, {"v": "text now"}]


async def test_what_a_table_was_is_caught_before_its_drop(node: Node, keyspace: MakeKeyspace) -> None:
    name = keyspace("brief")
    store = Store(node.state)
    source = SchemaSource(node.session, history=store.schema_history)
    await source.refresh()
    watching = asyncio.create_task(source.watch(interval=0.05))
    try:
        await asyncio.to_thread(node.session.execute, f"CREATE TABLE {name}.t (id int PRIMARY KEY, v int)")
        async with asyncio.timeout(PATIENCE):
            while source.current.find(name, "t") is None:  # noqa: ASYNC110 -- the cluster sets no event
                await asyncio.sleep(0.05)
        await asyncio.to_thread(node.session.execute, f"DROP TABLE {name}.t")
    finally:
        watching.cancel()
    assert any(each.keyspace == name and each.name == "t" for each in store.schema_history.load())
    store.close()
