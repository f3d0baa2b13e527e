"""Values that Python does not spell, and keys that are made of others: documents, letters, removals, restarts."""

from __future__ import annotations

import struct

from cdc_daemon.store import Store
from tests.integration.daemon.harness import wait_for
from tests.integration.daemon.stage import Stage

LONG = "7" * 5000
"""More digits than Python converts by itself."""


def test_numbers_of_any_length_are_documents_everywhere(stage: Stage) -> None:
    stage.table("numbers", "id varint PRIMARY KEY, l list<varint>, m map<varint, frozen<list<varint>>>, n varint")
    stage.table("pairs", "a varint, b frozen<list<varint>>, v text, PRIMARY KEY (a, b)", routing="{a}")
    stage.daemon.run()
    stage.execute(f"INSERT INTO {{ks}}.numbers (id, l, m, n) VALUES ({LONG}, [-{LONG}], {{{LONG}: [{LONG}]}}, 5)")
    stage.execute(f"INSERT INTO {{ks}}.pairs (a, b, v) VALUES (-{LONG}, [1, {LONG}], 'x')")
    stage.settle()
    (number,) = stage.documents("numbers").values()
    assert number == {"id": LONG, "l": [f"-{LONG}"], "m": {LONG: [LONG]}, "n": "5"}
    (pair,) = stage.documents("pairs").values()
    assert pair == {"a": f"-{LONG}", "b": ["1", LONG], "v": "x"}
    stage.assert_nothing_set_aside()

    stage.execute(f"DELETE FROM {{ks}}.numbers WHERE id = {LONG}")
    stage.execute(f"DELETE FROM {{ks}}.pairs WHERE a = -{LONG}")
    stage.settle()
    assert stage.documents("numbers") == {}
    assert stage.documents("pairs") == {}


def test_what_cannot_be_shown_is_a_letter_and_ends_nothing(stage: Stage) -> None:
    stage.table("wild", "id int PRIMARY KEY, d decimal, n varint, l list<frozen<tuple<int, varint>>>")
    stage.daemon.run()
    huge = int.from_bytes(b"\x7f" * 70_000, "big")
    insert = stage.cql.prepare(f"INSERT INTO {stage.keyspace}.wild (id, n, l) VALUES (?, ?, ?)")
    stage.cql.execute(insert, (1, huge, []))
    stage.cql.execute(insert, (2, 5, [(1, huge)]))
    stage.execute(f"INSERT INTO {{ks}}.wild (id, d) VALUES (3, {LONG})")
    stage.execute("INSERT INTO {ks}.wild (id, d, n) VALUES (4, 1e-2000000000, 4)")
    stage.settle()
    assert list(stage.documents("wild")) == ["4"]
    assert stage.daemon.metric("dead_letters_total", reason="ConversionError") == 2
    assert stage.daemon.metric("dead_letters_total", reason="UndecodableError") == 1
    assert stage.daemon.stop() == 0
    store = Store(stage.daemon.state)
    letters = [each for each in store.dead_letters.list(limit=10_000) if each.keyspace == stage.keyspace]
    store.close()
    assert sorted(str(each.detail["key"]) for each in letters) == ["{'id': 1}", "{'id': 2}", "{'id': 3}"]
    stage.daemon.run()
    stage.execute("UPDATE {ks}.wild SET n = 1, l = null, d = null WHERE id = 1")
    stage.settle()
    assert set(stage.documents("wild")) == {"1", "4"}


def test_rows_with_empty_values_in_their_keys_follow(stage: Stage) -> None:
    stage.table("empty", "p int, a int, b timestamp, v int, s int static, PRIMARY KEY (p, a, b)")
    stage.daemon.run()
    for a, b in (("blobasint(0x)", "0"), ("7", "blobastimestamp(0x)"), ("8", "0")):
        stage.execute(f"INSERT INTO {{ks}}.empty (p, a, b, v) VALUES (1, {a}, {b}, 1)")
    stage.settle()
    assert {document["v"] for document in stage.documents("empty").values()} == {1}
    assert len(stage.documents("empty")) == 3
    stage.execute("UPDATE {ks}.empty SET s = 9 WHERE p = 1")
    stage.settle()
    assert {document["s"] for document in stage.documents("empty").values()} == {9}
    stage.execute("DELETE FROM {ks}.empty WHERE p = 1")
    stage.settle()
    assert stage.documents("empty") == {}


def test_documents_whose_ids_are_made_of_others_go_when_their_table_is_truncated(stage: Stage) -> None:
    stage.table("bags", "id frozen<map<text, varint>> PRIMARY KEY, v int")
    stage.table("days", "a date, b uuid, v int, PRIMARY KEY ((a, b))", include=["v"])
    stage.daemon.run()
    stage.execute("INSERT INTO {ks}.bags (id, v) VALUES ({'a': 1, 'b': " + LONG + "}, 1)")
    insert = stage.cql.prepare(f"INSERT INTO {stage.keyspace}.days (a, b, v) VALUES (?, ?, 1)")
    for days in (0, 2**32 - 1, 2**31):
        bound = insert.bind((0, None))
        bound.values = [struct.pack(">I", days), b"" if days else bytes(16)]
        stage.cql.execute(bound)
    stage.settle()
    assert [len(stage.documents(name)) for name in ("bags", "days")] == [1, 3]
    stage.execute("TRUNCATE {ks}.bags")
    stage.execute("TRUNCATE {ks}.days")
    wait_for("no documents", lambda: not stage.documents("bags") and not stage.documents("days"))
