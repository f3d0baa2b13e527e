"""What cannot be shown is kept with its reason, its neighbours go on, and the counters add up."""

from __future__ import annotations

import asyncio
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bench.torture.projection import identity as identity_of
from cdc_daemon.cli.expected_documents import preview
from cdc_daemon.cli.main import app
from cdc_daemon.config import load
from cdc_daemon.model.errors import UndecodableError
from cdc_daemon.store import Store
from cdc_daemon.store.dead_letters import DeadLetter
from tests.integration.daemon.harness import wait_for
from tests.integration.daemon.stage import SMALL, Stage
from tests.servers import unparsable

DATED = {"dynamic": "strict", "properties": {"id": {"type": "integer"}, "day": {"type": "date"}}}


def letters(stage: Stage) -> list[DeadLetter]:
    """Stop the daemon and return the dead letters of this test's tables.

    There are others: a daemon with a new state meets changes of tables that earlier tests have dropped.
    """
    assert stage.daemon.stop() == 0
    store = Store(stage.daemon.state)
    try:
        return [letter for letter in store.dead_letters.list(limit=10_000) if letter.keyspace == stage.keyspace]
    finally:
        store.close()


def outcomes(stage: Stage, name: str) -> dict[str, float]:
    """How the documents of a table were settled, by outcome; one that could not be built counts for its table."""
    found = {
        outcome: sum(
            stage.daemon.metric("documents_total", alias=alias, outcome=outcome)
            for alias in (stage.alias(name), f"{stage.keyspace}.{name}")
        )
        for outcome in stage.daemon.metrics("documents_total", "outcome")
    }
    return {outcome: count for outcome, count in found.items() if count}


@pytest.mark.other_engines
def test_a_document_that_elasticsearch_cannot_take_is_set_aside(stage: Stage) -> None:
    stage.table("dated", "id int PRIMARY KEY, day text", mappings=DATED)
    stage.daemon.run()
    for number in range(20):
        day = "yesterday" if number == 7 else f"2024-01-{number + 1:02}"
        stage.execute("INSERT INTO {ks}.dated (id, day) VALUES (%s, %s)", [number, day])
    stage.settle()
    assert set(stage.documents("dated")) == {str(number) for number in range(20) if number != 7}
    wait_for("the counts", lambda: outcomes(stage, "dated") == {"indexed": 19, "dead_lettered": 1})
    assert stage.daemon.metric("dead_letters_total", reason="document") == 1
    assert stage.daemon.status()["backlog"]["bytes"] == 0

    (letter,) = letters(stage)
    assert (letter.kind, letter.reason) == ("document", unparsable())
    assert (letter.keyspace, letter.table) == (stage.keyspace, "dated")
    assert letter.partition_key == (7).to_bytes(4, "big")
    assert letter.detail["id"] == "7"
    assert "day" in str(letter.detail["message"])

    stage.daemon.run()
    stage.execute("UPDATE {ks}.dated SET day = '2024-01-08' WHERE id = 7")
    stage.settle()
    stage.assert_equal("dated")


def test_a_row_that_cannot_be_made_a_document_is_set_aside(stage: Stage) -> None:
    """The driver would close its connection over such a value, and everything would stand still."""
    stage.table("wild", "id text PRIMARY KEY, at timestamp")
    stage.daemon.run()
    far = 10**15  # milliseconds: beyond the years that Python knows
    for number in range(20):
        stage.execute("INSERT INTO {ks}.wild (id, at) VALUES (%s, %s)", [str(number), far if number == 7 else 0])
    stage.settle()
    assert set(stage.documents("wild")) == {str(number) for number in range(20) if number != 7}
    wait_for("the counts", lambda: outcomes(stage, "wild") == {"indexed": 19, "dead_lettered": 1})
    assert not [line for line in stage.daemon.log() if "marked down" in str(line.get("event"))]
    (letter,) = letters(stage)
    assert (letter.kind, letter.reason, letter.partition_key) == ("document", "UndecodableError", b"7")
    assert '"at" of type timestamp' in str(letter.detail["message"])
    (previewed,) = asyncio.run(preview(load(stage.daemon.config_path), "wild", ["7"]))
    assert (previewed.id, previewed.has_row) == ("7", True)
    assert isinstance(previewed.error, UndecodableError)


def test_a_key_longer_than_an_id_may_be_has_a_document_all_the_same(stage: Stage) -> None:
    stage.table("long", "id text PRIMARY KEY, v int")
    stage.daemon.run()
    for end in "ab":
        stage.execute("INSERT INTO {ks}.long (id, v) VALUES (%s, 1)", ["long" * 200 + end])
    stage.settle()
    assert sorted(found["id"][-1] for found in stage.documents("long").values()) == ["a", "b"]
    stage.execute("DELETE FROM {ks}.long WHERE id = %s", ["long" * 200 + "a"])
    stage.settle()
    assert [found["id"][-1] for found in stage.documents("long").values()] == ["b"]


def test_replay_and_drop(stage: Stage, tmp_path: Path) -> None:
    """A document that failed is shown after a replay, a table that came back is, and what is given up is gone."""
    token = tmp_path / "token"
    token.write_text("an-operator")
    tokens = [{"name": "operator", "file": str(token), "scopes": ["admin"]}]
    stage.daemon.config["http"] = {"port": 0, "auth": {"tokens": tokens}}
    loose = {"dynamic": "strict", "properties": {"id": {"type": "integer"}, "day": {"type": "keyword"}}}
    stage.table("dated", "id int PRIMARY KEY, day text", mappings=DATED)
    stage.map("both", table=f"{stage.keyspace}.dated", mappings=loose)
    stage.daemon.run()
    for number in range(3):
        stage.execute("INSERT INTO {ks}.dated (id, day) VALUES (%s, 'never')", [number])
    stage.settle()
    assert set(stage.documents("both")) == {"0", "1", "2"}, "the other index of the same table has them"

    # In which order documents of one batch are set aside is nobody's promise.
    found = {
        letter["key"]["id"]: letter
        for letter in command(stage, "list", "--table", f"{stage.keyspace}.dated")["dead_letters"]
    }
    assert found.keys() == {0, 1, 2}
    assert {(letter["alias"], letter["reason"]) for letter in found.values()} == {(stage.alias("dated"), unparsable())}
    assert found[2]["document"] == '{"id":2,"day":"never"}'

    asking = ("--url", stage.daemon.url, "--token-file", str(token))
    again = command(stage, "replay", "--reason", unparsable(), *asking, code=1)
    assert (again["replayed"], again["failed"]) == (0, 3)
    attempts = [letter["attempts"] for letter in command(stage, "list")["dead_letters"] if letter["table"] == "dated"]
    assert attempts == [2, 2, 2], "one letter for each document, however often it fails"

    # What is mended in the index is shown by a replay, what is mended in Cassandra by its change.
    index = f"{stage.alias('dated')}-000002"
    stage.elastic.indices.create(index=index, settings=SMALL, mappings=stage.mapping_of("both"))
    stage.elastic.indices.update_aliases(
        actions=[
            {"remove_index": {"index": f"{stage.alias('dated')}-000001"}},
            {"add": {"index": index, "alias": stage.alias("dated"), "is_write_index": True}},
        ]
    )
    assert command(stage, "replay", str(found[2]["id"]), *asking)["replayed"] == 1
    assert stage.get("dated", "2") == {"id": 2, "day": "never"}
    stage.execute("UPDATE {ks}.dated SET day = 'ever' WHERE id = 1")
    stage.settle()
    left = [letter["key"] for letter in command(stage, "list", "--table", "dated")["dead_letters"]]
    assert left == [{"id": 0}]
    assert command(stage, "drop", "--table", f"{stage.keyspace}.dated", "--dry-run")["dropped"] == 1
    assert command(stage, "drop", str(found[0]["id"]))["dropped"] == 1
    assert command(stage, "list", "--table", "dated")["total"] == 0


def test_what_could_not_be_read_is_replayed(stage: Stage, tmp_path: Path) -> None:
    """A whole partition, and a row that only other rows' documents show."""
    token = tmp_path / "token"
    token.write_text("an-operator")
    stage.daemon.config["http"] = {
        "port": 0,
        "auth": {"tokens": [{"name": "operator", "file": str(token), "scopes": ["admin"]}]},
    }
    stage.create("member", "team text, name text, PRIMARY KEY (team, name)")
    stage.table(
        "team", "id text PRIMARY KEY", joins={"members": {"table": f"{stage.keyspace}.member", "on": {"team": "id"}}}
    )
    stage.table("grid", "p int, c int, PRIMARY KEY (p, c)")
    stage.daemon.run()
    stage.execute("INSERT INTO {ks}.team (id) VALUES ('t')")
    stage.execute("INSERT INTO {ks}.member (team, name) VALUES ('t', 'm')")
    for number in range(3):
        stage.execute("INSERT INTO {ks}.grid (p, c) VALUES (1, %s)", [number])
    stage.settle()
    assert letters(stage) == []
    for name, identity in (("team", "t"), ("grid", identity_of([1, 0])), ("grid", identity_of([1, 2]))):
        assert stage.elastic.delete(index=stage.alias(name), id=identity)["result"] == "deleted"
    store = Store(stage.daemon.state)
    place: dict[str, Any] = {"reason": "CassandraReadError", "detail": {}, "keyspace": stage.keyspace}
    partition = DeadLetter(kind="partition", table="grid", partition_key=(1).to_bytes(4, "big"), **place)
    row = DeadLetter(kind="document", table="member", partition_key=b"t", clustering=(b"m",), **place)
    store.dead_letters.add([partition, row])
    store.close()

    stage.daemon.run()
    (listed,) = command(stage, "list", "--kind", "partition")["dead_letters"]
    assert (listed["partition_key"], listed["clustering"]) == ("00000001", None)
    asking = ("--url", stage.daemon.url, "--token-file", str(token))
    assert command(stage, "replay", "--reason", "CassandraReadError", *asking)["replayed"] == 2
    stage.settle()
    stage.assert_equal("grid")
    assert stage.get("team", "t") == {"id": "t", "members": [{"team": "t", "name": "m"}]}
    assert letters(stage) == []


def test_a_letter_is_tried_again_by_itself_and_counts_once(stage: Stage) -> None:
    stage.daemon.config["dead_letters"] = {"retry_every": "1s"}
    stage.table("dated", "id int PRIMARY KEY, day text", mappings=DATED)
    stage.daemon.run()
    for number, day in ((1, "yesterday"), (2, "tomorrow")):
        stage.execute("INSERT INTO {ks}.dated (id, day) VALUES (%s, %s)", [number, day])
    # Each time one is tried counts as a document settled; the letters stay two.
    wait_for("a third attempt", lambda: outcomes(stage, "dated").get("dead_lettered", 0) >= 6)
    assert stage.daemon.metric("dead_letters_total", reason="document") == 2
    # Somebody else mends the cause without a change that the daemon could see: as if the mapping were another.
    assert stage.daemon.stop() == 0
    stage.elastic.indices.delete(index=stage.alias("dated") + "-000001")
    stage.mappings["dated"]["mappings"] = {"properties": {"id": {"type": "integer"}, "day": {"type": "text"}}}
    stage.daemon.run()
    wait_for("both documents", lambda: set(stage.documents("dated")) == {"1", "2"})
    turns = {job["name"]: job for job in stage.daemon.status()["schedule"]}
    assert turns["dead letters"]["succeeded"] > 0
    assert {"expired values", "truncated tables", "dependents"} <= turns.keys()
    assert letters(stage) == []


def command(stage: Stage, *arguments: str, code: int = 0) -> Any:
    """Run `cdc-daemon dead-letters` with this stage's configuration; return the JSON that it writes."""
    config = ("--config", str(stage.daemon.config_path), "--json")
    result = CliRunner().invoke(app, ["dead-letters", *arguments, *config])
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def changes(stage: Stage) -> list[tuple[str, list[Any]]]:
    hot = [("INSERT INTO {ks}.dated (id, day) VALUES (%s, '2024-01-01')", [number % 10]) for number in range(300)]
    bad = [("INSERT INTO {ks}.dated (id, day) VALUES (%s, 'never')", [number]) for number in (100, 101)]
    removals = [("DELETE FROM {ks}.dated WHERE id = %s", [number]) for number in range(5)]
    grid = [("INSERT INTO {ks}.grid (p, c) VALUES (%s, %s)", [p, c]) for p, c in itertools.product(range(3), range(10))]
    wide: list[tuple[str, list[Any]]] = [
        ("DELETE FROM {ks}.grid WHERE p = 1", []),
        ("DELETE FROM {ks}.grid WHERE p = 2 AND c > 4", []),
    ]
    return [*hot, *bad, *removals, *grid, *wide]


def test_the_counters_add_up(stage: Stage) -> None:
    stage.table("dated", "id int PRIMARY KEY, day text", mappings=DATED)
    stage.table("grid", "p int, c int, PRIMARY KEY (p, c)")
    stage.create("unmapped", "id int PRIMARY KEY")
    stage.daemon.run()
    stage.settle()
    for statement, values in changes(stage):
        stage.execute(statement, values)
    stage.execute("INSERT INTO {ks}.unmapped (id) VALUES (1)")
    stage.settle()
    # They are exported once a second.
    wait_for("the counters to add up", lambda: add_up(stage), pause=0.2)

    daemon = stage.daemon
    assert daemon.metric("mutations_total", table="dated") == 307
    assert daemon.metric("mutations_total", table="grid", scope="row") == 30
    assert daemon.metric("mutations_total", table="grid", scope="partition") == 1
    assert daemon.metric("mutations_total", table="grid", scope="range") == 1
    assert daemon.metric("updates_passed_over_total", reason="unmapped") >= 1
    assert daemon.metric("keys_settled_total", scope="partition") == 2
    assert outcomes(stage, "dated")["dead_lettered"] == 2
    assert len([letter for letter in letters(stage) if letter.table == "dated"]) == 2
    stage.assert_equal("grid")


def add_up(stage: Stage) -> bool:
    """Return whether the counters of changes and of documents add up (docs/guarantees.md, promise 7)."""
    metric = stage.daemon.metric
    decoded, taken = metric("mutations_total"), metric("signals_taken_total")
    coalesced, settled = metric("signals_coalesced_total"), metric("keys_settled_total")
    return (
        metric("pending") == 0
        and decoded == metric("signals_total") <= taken == coalesced + settled
        # Each table of this test feeds one index, so every row that is settled is one document.
        and metric("keys_settled_total", scope="row") == metric("documents_total")
    )
