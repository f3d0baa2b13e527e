"""Tables are created, altered and dropped while the daemon runs."""

from __future__ import annotations

import json
from typing import Any

from typer.testing import CliRunner

from cdc_daemon.cli.main import EXIT_CONFIGURATION, app
from cdc_daemon.model.errors import CassandraRefusedError
from tests.integration.daemon.harness import wait_for
from tests.integration.daemon.stage import Stage
from tests.integration.sources.requests.asking import sync, with_token


def test_a_mapped_table_that_does_not_exist_yet_is_waited_for(stage: Stage) -> None:
    stage.map("late")
    stage.daemon.start()
    waiting = stage.daemon.wait_event("startup.waiting", waiting_for="schema")
    assert waiting["table"] == f"{stage.keyspace}.late"
    # The daemon waits; a command that answers once tells at once.
    previewed = CliRunner().invoke(app, ["preview", "late", "1", "--config", str(stage.daemon.config_path)])
    assert isinstance(previewed.exception, CassandraRefusedError)
    assert f"{stage.keyspace}.late" in str(previewed.exception)
    stage.create("late", "id int PRIMARY KEY, v text")
    stage.daemon.wait_running()
    stage.execute("INSERT INTO {ks}.late (id, v) VALUES (1, 'x')")
    stage.settle()
    stage.assert_equal("late")
    assert stage.get("late", "1") == {"id": 1, "v": "x"}


def test_a_table_without_cdc_is_told(stage: Stage) -> None:
    stage.create("silent", "id int PRIMARY KEY, v text", cdc=False)
    stage.map("silent")
    stage.daemon.run()
    told = stage.daemon.wait_event("schema.cdc_off")
    assert told["table"] == f"{stage.keyspace}.silent"
    assert f"ALTER TABLE {stage.keyspace}.silent WITH cdc = true" in told["hint"]
    stage.execute("ALTER TABLE {ks}.silent WITH cdc = true")
    stage.execute("INSERT INTO {ks}.silent (id, v) VALUES (1, 'x')")
    stage.settle()
    stage.assert_equal("silent")


def test_columns_added_and_dropped_while_the_daemon_runs(stage: Stage) -> None:
    stage.table("t", "p int, c int, a text, b text, PRIMARY KEY (p, c)")
    stage.daemon.run()
    stage.execute("INSERT INTO {ks}.t (p, c, a, b) VALUES (1, 1, 'a', 'b')")
    stage.settle()

    stage.execute("ALTER TABLE {ks}.t ADD (added text, tags set<text>, s text static)")
    stage.execute("INSERT INTO {ks}.t (p, c, a, added, tags, s) VALUES (1, 2, 'a', 'new', {'t'}, 's')")
    stage.execute("UPDATE {ks}.t SET b = 'changed' WHERE p = 1 AND c = 1")
    stage.settle()
    assert stage.documents("t") == {
        "1:1": {"p": 1, "c": 1, "a": "a", "b": "changed", "added": None, "tags": None, "s": "s"},
        "1:2": {"p": 1, "c": 2, "a": "a", "b": None, "added": "new", "tags": ["t"], "s": "s"},
    }
    changed = stage.daemon.wait_event("mapping.columns_changed", mapping="t")
    assert sorted(changed["added"]) == ["added", "s", "tags"]
    index = stage.elastic.indices.get_mapping(index=stage.alias("t"))
    (fields,) = (each["mappings"]["properties"] for each in index.body.values())
    assert fields["added"]["type"] == "text"

    stage.execute("ALTER TABLE {ks}.t DROP b")
    stage.execute("UPDATE {ks}.t SET a = 'after' WHERE p = 1 AND c = 1")
    stage.execute("INSERT INTO {ks}.t (p, c, a) VALUES (1, 3, 'after')")
    stage.settle()
    documents = stage.documents("t")
    assert {identity: found["a"] for identity, found in documents.items()} == {
        "1:1": "after",
        "1:2": "a",
        "1:3": "after",
    }
    assert "b" not in documents["1:3"]
    stage.assert_nothing_set_aside()


def test_columns_that_filters_orders_and_expressions_name_are_dropped(stage: Stage) -> None:
    ks = stage.keyspace
    stage.create("child", "owner int, c int, rank int, hidden boolean, PRIMARY KEY (owner, c)")
    stage.create("other", "id int PRIMARY KEY, label text, spare text")
    child = {"table": f"{ks}.child", "on": {"owner": "id"}, "order": ["-rank"], "include": ["c"]}
    other = {"table": f"{ks}.other", "on": {"id": "ref"}, "fields": {"label": "label"}, "dependents": {"ignore": True}}
    made: dict[str, Any] = {"joins": {"children": child}, "lookups": {"other": other}, "computed": {"flag": "b == 'b'"}}
    stage.table("worked_out", "id int PRIMARY KEY, a text, b text, ref int", exclude=["b"], **made)
    stage.table("filtered", "id int PRIMARY KEY, a text, hidden boolean", where={"hidden": False}, exclude=["hidden"])
    stage.execute("INSERT INTO {ks}.child (owner, c, rank) VALUES (1, 1, 1)")
    stage.execute("INSERT INTO {ks}.child (owner, c, rank) VALUES (1, 2, 2)")
    stage.execute("INSERT INTO {ks}.other (id, label) VALUES (7, 'L')")
    stage.daemon.run()
    stage.execute("INSERT INTO {ks}.worked_out (id, a, b, ref) VALUES (1, 'a', 'b', 7)")
    stage.execute("INSERT INTO {ks}.filtered (id, a, hidden) VALUES (1, 'a', false)")
    stage.settle()
    before = {"id": 1, "a": "a", "ref": 7, "label": "L", "children": [{"c": 2}, {"c": 1}], "flag": True}
    assert stage.get("worked_out", "1") == before

    for table, column in (("child", "rank"), ("other", "label"), ("worked_out", "b"), ("filtered", "hidden")):
        stage.execute(f"ALTER TABLE {{ks}}.{table} DROP {column}")
    stage.execute("UPDATE {ks}.worked_out SET a = 'after' WHERE id = 1")
    stage.execute("UPDATE {ks}.filtered SET a = 'after' WHERE id = 1")
    stage.settle()
    after = {**before, "a": "after", "label": None, "children": [{"c": 1}, {"c": 2}], "flag": False}
    assert stage.get("worked_out", "1") == after
    # Whether the filter hides a row cannot be told: its document neither goes nor changes, and says so.
    assert stage.get("filtered", "1") == {"id": 1, "a": "a"}
    assert stage.daemon.metric("dead_letters_total", reason="ExpressionError") == 1
    assert {each["mapping"] for each in stage.daemon.events("mapping.does_not_fit")} == {"worked_out", "filtered"}
    listing = ["dead-letters", "list", "--table", f"{ks}.filtered", "--config", str(stage.daemon.config_path), "--json"]
    listed = CliRunner().invoke(app, listing)
    assert "filtered.where names, found none called hidden" in listed.stdout

    # So it is after a restart: the other tables are not held up, and what is corrected is shown again.
    stage.daemon.stop()
    stage.daemon.run()
    stage.execute("UPDATE {ks}.worked_out SET a = 'later' WHERE id = 1")
    stage.settle()
    assert stage.get("worked_out", "1") == {**after, "a": "later"}
    assert {each["mapping"] for each in stage.daemon.events("mapping.does_not_fit")} == {"worked_out", "filtered"}
    checked = CliRunner().invoke(app, ["check", "--config", str(stage.daemon.config_path), "--json"])
    failed = {each["name"] for each in json.loads(checked.stdout)["findings"] if each["status"] == "fail"}
    assert failed >= {"columns.worked_out", "columns.filtered"}
    for corrected in ("where", "exclude"):
        del stage.mappings["filtered"][corrected]
    stage.daemon.stop()
    stage.daemon.run()
    stage.execute("UPDATE {ks}.filtered SET a = 'last' WHERE id = 1")
    stage.settle()
    assert stage.get("filtered", "1") == {"id": 1, "a": "last"}
    assert json.loads(CliRunner().invoke(app, listing).stdout)["dead_letters"] == []


def test_a_column_dropped_with_changes_of_it_in_the_log(stage: Stage) -> None:
    stage.table("t", "id int PRIMARY KEY, a text, b text")
    stage.daemon.run()
    stage.settle()
    stage.daemon.kill()
    for number in range(20):
        stage.execute("INSERT INTO {ks}.t (id, a, b) VALUES (%s, 'a', 'b')", [number])
    stage.execute("ALTER TABLE {ks}.t DROP b")
    stage.execute("INSERT INTO {ks}.t (id, a) VALUES (20, 'a')")
    stage.daemon.run()
    stage.settle()
    assert len(stage.documents("t")) == 21
    stage.assert_equal("t")


def test_a_table_dropped_and_created_again(stage: Stage) -> None:
    stage.table("t", "id int PRIMARY KEY, v text")
    stage.daemon.run()
    stage.execute("INSERT INTO {ks}.t (id, v) VALUES (1, 'first')")
    stage.settle()
    stage.execute("DROP TABLE {ks}.t")
    stage.create("t", "id int PRIMARY KEY, v text")
    stage.execute("INSERT INTO {ks}.t (id, v) VALUES (1, 'second')")
    stage.execute("INSERT INTO {ks}.t (id, v) VALUES (2, 'second')")
    stage.settle()
    stage.assert_equal("t")
    assert len(stage.documents("t")) == 2


def test_a_table_that_is_gone_holds_up_no_other(stage: Stage) -> None:
    stage.table("gone", "id int PRIMARY KEY, v text")
    stage.table("stays", "id int PRIMARY KEY, v text")
    stage.daemon.run()
    stage.settle()
    stage.elastic.indices.close(index=stage.alias("gone"))  # so that its changes wait until it is dropped
    try:
        for number in range(20):
            stage.execute("INSERT INTO {ks}.gone (id, v) VALUES (%s, 'x')", [number])
        stage.daemon.wait_event("elasticsearch.alias_unavailable", alias=stage.alias("gone"))
        stage.execute("DROP TABLE {ks}.gone")
    finally:
        stage.elastic.indices.open(index=stage.alias("gone"))
    for number in range(20):
        stage.execute("INSERT INTO {ks}.stays (id, v) VALUES (%s, 'x')", [number])
    wait_for("the other table's documents", lambda: len(stage.documents("stays")) == 20, pause=0.2)
    stage.assert_equal("stays")
    stage.daemon.wait_event("pipeline.table_dropped", table=f"{stage.keyspace}.gone")
    stage.settle()  # and what was pending for the dropped table holds no checkpoint
    wait_for("the count", lambda: stage.daemon.metric("documents_total", outcome="kept") >= 20)


def test_traffic_of_tables_without_mapping_is_passed_over(stage: Stage) -> None:
    stage.table("t", "id int PRIMARY KEY, v text")
    stage.create("unmapped", "p int, c int, s text static, v text, PRIMARY KEY (p, c)")
    stage.create("without_cdc", "id int PRIMARY KEY", cdc=False)
    stage.daemon.run()
    stage.settle()
    before = stage.daemon.metric("updates_passed_over_total", reason="unmapped")
    for number in range(20):
        stage.execute("INSERT INTO {ks}.unmapped (p, c, s, v) VALUES (1, %s, 's', 'v')", [number])
        stage.execute("INSERT INTO {ks}.without_cdc (id) VALUES (%s)", [number])
    stage.execute("DELETE FROM {ks}.unmapped WHERE p = 1")
    stage.execute(
        "BEGIN BATCH INSERT INTO {ks}.unmapped (p, c) VALUES (2, 2); INSERT INTO {ks}.t (id, v) VALUES (1, 'x'); "
        "APPLY BATCH"
    )
    stage.settle()
    assert stage.daemon.metric("updates_passed_over_total", reason="unmapped") >= before + 22
    assert stage.daemon.metric("mutations_total", table="t") == 1
    assert stage.documents("t") == {"1": {"id": 1, "v": "x"}}


def test_a_column_that_a_strict_index_does_not_know_is_left_out(stage: Stage) -> None:
    strict = {"dynamic": "strict", "properties": {"id": {"type": "integer"}, "v": {"type": "keyword"}}}
    stage.table("t", "id int PRIMARY KEY, v text", mappings=strict)
    stage.daemon.run()
    stage.execute("ALTER TABLE {ks}.t ADD added text")
    stage.execute("INSERT INTO {ks}.t (id, v, added) VALUES (1, 'x', 'new')")
    stage.settle()
    assert stage.documents("t") == {"1": {"id": 1, "v": "x"}}
    assert stage.daemon.wait_event("mapping.columns_left_out", mapping="t")["columns"] == ["added"]

    stage.elastic.indices.put_mapping(index=stage.alias("t"), properties={"added": {"type": "keyword"}})
    stage.daemon.stop()
    stage.daemon.run()
    stage.execute("INSERT INTO {ks}.t (id, v, added) VALUES (2, 'x', 'new')")
    stage.settle()
    assert stage.documents("t")["2"] == {"id": 2, "v": "x", "added": "new"}
    stage.assert_nothing_set_aside()


def test_a_user_type_grows_and_a_key_is_renamed(stage: Stage) -> None:
    stage.execute("CREATE TYPE {ks}.place (city text)")
    stage.table("t", "id int PRIMARY KEY, home frozen<place>, live place")
    stage.daemon.run()
    stage.execute("INSERT INTO {ks}.t (id, home, live) VALUES (1, {city: 'a'}, {city: 'b'})")
    stage.settle()
    stage.assert_equal("t")
    stage.execute("ALTER TYPE {ks}.place ADD zip int")
    stage.execute("INSERT INTO {ks}.t (id, home, live) VALUES (1, {city: 'a', zip: 1}, {city: 'b', zip: 2})")
    stage.execute("INSERT INTO {ks}.t (id, home) VALUES (2, {city: 'c', zip: 3})")
    stage.settle()
    wait_for("the grown values", lambda: stage.rows("t") == stage.documents("t"), pause=0.2)
    assert stage.documents("t")["1"]["home"] == {"city": "a", "zip": 1}

    stage.execute("ALTER TABLE {ks}.t RENAME id TO number")
    stage.execute("INSERT INTO {ks}.t (number, home) VALUES (3, {city: 'd', zip: 4})")
    stage.settle()
    assert stage.documents("t")["3"] == {"number": 3, "home": {"city": "d", "zip": 4}, "live": None}
    stage.assert_nothing_set_aside()


def test_a_dropped_table_holds_up_no_start(stage: Stage) -> None:
    stage.table("gone", "id int PRIMARY KEY, v text")
    stage.table("stays", "id int PRIMARY KEY, v text")
    stage.daemon.run()
    stage.execute("INSERT INTO {ks}.gone (id, v) VALUES (1, 'x')")
    stage.settle()
    stage.daemon.stop()
    stage.execute("DROP TABLE {ks}.gone")
    stage.daemon.run()
    stage.daemon.wait_event("schema.table_dropped", table=f"{stage.keyspace}.gone")
    stage.execute("INSERT INTO {ks}.stays (id, v) VALUES (1, 'x')")
    stage.settle()
    stage.assert_equal("stays")
    stage.create("gone", "id int PRIMARY KEY, v text, w text")
    stage.execute("INSERT INTO {ks}.gone (id, v, w) VALUES (2, 'x', 'new')")
    stage.daemon.wait_event("removal.swept", table=f"{stage.keyspace}.gone")
    stage.settle()
    stage.assert_equal("gone")


def test_an_index_that_elasticsearch_will_never_create_ends_the_start(stage: Stage) -> None:
    stage.table("t", "id int PRIMARY KEY, v text", mappings={"properties": {"v": {"type": "nonsense"}}})
    stage.daemon.start()
    assert stage.daemon.wait_exit(60) == EXIT_CONFIGURATION
    said = " ".join(stage.daemon.log_text().split())
    assert f"alias: {stage.alias('t')}" in said
    assert "[nonsense] declared on field [v]" in said


def test_tables_created_again_with_another_key(stage: Stage) -> None:
    stage.table("rekeyed", "id int PRIMARY KEY, v text")
    stage.table("misfit", "id int PRIMARY KEY, v text", id="{id}", fields={"v": "value"})
    stage.table("stays", "id int PRIMARY KEY, v text")
    stage.daemon.config["http"] = with_token()
    stage.daemon.run()
    for name in ("rekeyed", "misfit", "stays"):
        stage.execute(f"INSERT INTO {{ks}}.{name} (id, v) VALUES (1, 'old')")
    stage.settle()
    assert stage.get("misfit", "1") == {"id": 1, "value": "old"}

    stage.execute("DROP TABLE {ks}.rekeyed")
    stage.create("rekeyed", "a text, b int, v text, PRIMARY KEY (a, b)")
    stage.execute("INSERT INTO {ks}.rekeyed (a, b, v) VALUES ('x', 2, 'new')")
    stage.daemon.wait_event("mapping.key_changed", table=f"{stage.keyspace}.rekeyed")
    stage.daemon.wait_event("reconcile.loss_healed")
    stage.settle()
    stage.execute("INSERT INTO {ks}.rekeyed (a, b, v) VALUES ('y', 3, 'newer')")
    stage.settle()
    wait_for("the new documents alone", lambda: stage.documents("rekeyed").keys() == {"x:2", "y:3"}, pause=0.2)
    stage.assert_equal("rekeyed")
    wait_for("the counters to add up", lambda: flow_adds_up(stage))

    # A mapping that does not fit any more waits, and no other with it; nor does a restart lose anything of it.
    stage.execute("DROP TABLE {ks}.misfit")
    stage.create("misfit", "a text, b int, v text, PRIMARY KEY (a, b)")
    stage.execute("INSERT INTO {ks}.misfit (a, b, v) VALUES ('x', 2, 'new')")
    held = stage.daemon.wait_event("mapping.held", mapping="misfit")
    assert held["table"] == f"{stage.keyspace}.misfit"
    wait_for("a daemon that runs", lambda: stage.daemon.status()["state"] == "running")
    (told,) = stage.daemon.status()["held"]
    assert (told["mapping"], told["reason"]) == ("misfit", held["error"])
    refused = sync(stage, "misfit", "1")
    assert (refused.status, refused.content["params"]["err"]) == (503, "SERVICE_UNAVAILABLE")
    assert "misfit is blocked" in refused.content["params"]["errmsg"]
    assert sync(stage, "stays", "1").status == 200
    stage.execute("INSERT INTO {ks}.stays (id, v) VALUES (2, 'x')")
    stage.settle()
    stage.assert_equal("stays")
    checked = CliRunner().invoke(app, ["check", "--config", str(stage.daemon.config_path), "--json"])
    assert checked.exit_code == 1
    failed = {each["name"] for each in json.loads(checked.stdout)["findings"] if each["status"] == "fail"}
    assert failed & {"id.misfit", "mapping.misfit"}
    stage.daemon.stop()
    stage.daemon.run()
    stage.daemon.wait_event("mapping.held", mapping="misfit")
    stage.settle()

    stage.mappings["misfit"]["id"] = "{a}_{b}"
    stage.daemon.stop()
    stage.daemon.run()
    stage.daemon.wait_event("reconcile.loss_healed")
    stage.settle()
    assert stage.documents("misfit") == {"x_2": {"a": "x", "b": 2, "value": "new"}}
    assert stage.daemon.status()["held"] == []


def flow_adds_up(stage: Stage) -> bool:
    """Return whether each signal has a result, also those that were in flight when the parts were built anew."""
    metric = stage.daemon.metric
    ends = ("signals_coalesced_total", "keys_settled_total", "keys_forgotten_total")
    return metric("pending") == 0 and metric("signals_taken_total") == sum(map(metric, ends))
