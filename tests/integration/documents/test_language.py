"""The mapping language word by word: each declares documents, and the index has them, as a preview shows them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from cassandra.cluster import Session
from elasticsearch import Elasticsearch
from typer.testing import CliRunner

from cdc_daemon.cli.expected_documents import preview
from cdc_daemon.cli.main import app
from cdc_daemon.config.loading import load
from cdc_daemon.model.errors import JsonTextError
from sandbox import Sandbox
from tests.integration.daemon.harness import wait_for
from tests.integration.daemon.stage import Stage, new_stage
from tests.integration.documents import hooks
from tests.integration.sources.requests.asking import sync, with_token
from tests.servers import indexes_vectors

PARTS = ("x", "x:y", "y:", "x_y", "_", "\\", "x\\:", "é")
"""Values that stand beside each other in keys, with every character that separates or escapes."""

FITTING = "k" * 512
LONG = ("k" * 513, "é" * 257, "long:_\\" * 100, "sha256:" + "0" * 64)
"""Keys that Elasticsearch takes as an `_id`, and those that get a hash in its place."""

EXACT = "-1234567890123456789012345678901234567890.09876543210987654321098765432100"
LARGE = "123456789012345678901234567890123456789012345678901234567890"

PEOPLE = "id text PRIMARY KEY, user_name text, root_org_id text, home_address address"

IDS: dict[str, tuple[Any, ...]] = {
    "joined_id": tuple({"a": a, "b": b, "c": 1} for a, b in itertools.product(PARTS, PARTS)),
    "template_id": tuple({"a": a, "b": b, "c": 1} for a, b in itertools.product(PARTS, PARTS)),
    "long_id": (FITTING, *LONG),
    "long_ids": tuple({"p": "p" * 300, "c": f"{c}" * 300} for c in "abc"),
    **dict.fromkeys(("as_is", "explicit", "camel", "listed"), ("u1",)),
    "constant": ("full", "empty"),
    "json": ("good", "bad", "blank", "none"),
    "dated": ("d",),
    "keep": ("full", "empty"),
    "drop": ("full", "empty"),
    "nested": ("n",),
    "numbers": ("exact", "none"),
    "ranged": ("exact", "none"),
    "blobs": ("b",),
    "vectors": ("east", "north", "none"),
    "routed": tuple({"tenant": tenant, "id": number} for tenant in "abcd" for number in range(4)),
    "shown_where": ("absent", "false", "true"),
    "shown_by": ("1", "2", "3"),
    "computed": ("c", "none"),
    "course": ("c1", "c2", "draft"),
}
"""Of each mapping the ids that tests write."""


@pytest.fixture(scope="module")
def shown(
    box: Sandbox, cql: Session, elastic: Elasticsearch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """A running daemon with a mapping for each word of the language, and rows of all of them, settled."""
    with (
        new_stage(box, cql, elastic, tmp_path_factory.mktemp("language")) as stage,
        pytest.MonkeyPatch.context() as environment,
    ):
        environment.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
        stage.daemon.config["http"] = with_token()
        stage.execute("CREATE TYPE {ks}.address (street_name text, geo_point frozen<list<double>>)")
        elastic.ingest.put_pipeline(id=stage.keyspace, processors=[])
        declare_keys_and_names(stage)
        declare_values(stage)
        declare_conditions(stage)
        write_keys(stage)
        write_rows(stage)
        try:
            stage.daemon.run()
            stage.settle()
            yield stage
        finally:
            elastic.ingest.delete_pipeline(id=stage.keyspace)


def declare_keys_and_names(stage: Stage) -> None:
    columns = "a text, b text, c int, v text, PRIMARY KEY ((a, b), c)"
    also(stage, stage.table("joined_id", columns), "template_id", id="{a}_{b}_{c}")
    stage.table("long_id", "id text PRIMARY KEY, v int")
    stage.table("long_cut", "id text PRIMARY KEY, v int")
    stage.table("long_ids", "p text, c text, v int, PRIMARY KEY (p, c)")
    people = stage.table("as_is", PEOPLE)
    also(stage, people, "explicit", fields={"user_name": "name", "id": "identifier"}, exclude=["root_org_id"])
    also(stage, people, "camel", names="camel", fields={"root_org_id": "organisation"})
    also(stage, people, "listed", names={"user_name": "userName", "street_name": "street", "unheard_of": "x"})
    both = "id text PRIMARY KEY, a text, b int, tags set<text>"
    always = {"type": "user", "version": 2, "score": 0.5, "nothing": None, "source": {"system": ["cdc", 1]}}
    kept = stage.table("keep", both, nulls="keep")
    also(stage, kept, "drop", nulls="drop")
    also(stage, kept, "constant", include=["b"], nulls="drop", constants=always)
    stage.table(
        "routed",
        "tenant text, id int, v text, PRIMARY KEY (tenant, id)",
        routing="tenant-{tenant}",
        settings={"number_of_shards": 5, "number_of_replicas": 0},
    )


def declare_values(stage: Stage) -> None:
    bad = {"profile": {}, "kept": {"bad": "text"}, "emptied": {"bad": "empty", "empty": []}}
    stage.table(
        "json",
        "id text PRIMARY KEY, profile text, kept text, emptied text, strict text, many list<text>, "
        "mapped map<text, text>",
        json_text={**bad, "strict": {"bad": "dead_letter"}, "many": {"bad": "text"}, "mapped": {}},
    )
    stage.table(
        "dated",
        "id text PRIMARY KEY, plain timestamp, day timestamp, millis timestamp, spelt timestamp, short date, "
        "times list<timestamp>",
        dates={
            "day": "yyyy-MM-dd",
            "millis": "epoch_millis",
            "spelt": "yyyy-MM-dd HH:mm:ss:SSSZ",
            "short": "dd/MM/yyyy",
            "times": "yyyy-MM-dd'T'HH:mm",
        },
    )
    stage.table(
        "nested",
        "id text PRIMARY KEY, home address, homes list<frozen<address>>, named map<text, frozen<address>>, "
        "counts map<int, int>",
        names="camel",
    )
    exact = stage.table("numbers", "id text PRIMARY KEY, amount decimal, big varint, long bigint, many list<decimal>")
    also(stage, exact, "ranged", field_types={"amount": {"type": "double"}})
    stage.table("blobs", "id text PRIMARY KEY, data blob, many set<blob>")
    stage.table("vectors", "id text PRIMARY KEY, place vector<float, 3>")


def declare_conditions(stage: Stage) -> None:
    stage.table("piped", "id text PRIMARY KEY, v int", pipeline=stage.keyspace)
    stage.table("shown_where", "id text PRIMARY KEY, name text, isdeleted boolean", where={"isdeleted": [False, None]})
    stage.table("shown_by", "id int PRIMARY KEY, status int, tags set<text>", where="status >= 2 and 'x' in tags")
    stage.table(
        "computed",
        "id text PRIMARY KEY, first text, last text, flags int, tags set<text>, price decimal, profile text",
        exclude=["profile"],
        computed={
            "fullName": "f'{first} {last}'",
            "emailVerified": "bits(flags, 4)",
            "greeting": "'Dear ' + upper(fullName)",
            "tagged": "length(coalesce(tags, []))",
            "city": "json(profile, {}).city",
            "idHash": "sha256(id)",
            "long": "[tag for tag in sort(tags) if length(tag) > 1]",
            "label": "'cheap' if price < 10 else 'dear'",
        },
    )
    stage.create("unit", "course text, number int, level int, PRIMARY KEY (course, number)")
    stage.table(
        "course",
        "id text PRIMARY KEY, state text, start timestamp",
        joins={"units": {"table": f"{stage.keyspace}.unit", "on": {"course": "id"}, "exclude": ["course"]}},
        hook=hooks.NAME,
        field_types={"levels": {"type": "integer"}, "secondsOfDay": {"type": "integer"}},
    )


def also(stage: Stage, table: str, name: str, **mapping: Any) -> None:
    """Declare one more mapping of a table."""
    stage.map(name, table=table, **mapping)


def write_keys(stage: Stage) -> None:
    for a, b in itertools.product(PARTS, PARTS):
        stage.execute("INSERT INTO {ks}.joined_id (a, b, c, v) VALUES (%s, %s, 1, %s)", [a, b, f"{a}|{b}"])
    for key in (FITTING, *LONG):
        for table in ("long_id", "long_cut"):
            stage.execute(f"INSERT INTO {{ks}}.{table} (id, v) VALUES (%s, 1)", [key])
    for c in "abc":
        stage.execute("INSERT INTO {ks}.long_ids (p, c, v) VALUES (%s, %s, 1)", ["p" * 300, c * 300])
    for tenant, number in itertools.product("abcd", range(4)):
        stage.execute("INSERT INTO {ks}.routed (tenant, id, v) VALUES (%s, %s, 'v')", [tenant, number])


def write_rows(stage: Stage) -> None:
    address = "{street_name: 'MG Road', geo_point: [12.5, 77.5]}"
    stage.execute(f"INSERT INTO {{ks}}.as_is (id, user_name, home_address) VALUES ('u1', 'Asha', {address})")
    stage.execute("INSERT INTO {ks}.keep (id, a, b, tags) VALUES ('full', '', 0, {'t'})")
    stage.execute("INSERT INTO {ks}.keep (id) VALUES ('empty')")
    texts = {"good": '{"a": [1, {"b": null}]}', "bad": '{"a": ', "blank": " ", "none": None}
    for name, text in texts.items():
        strict = text if name != "bad" else "true"
        stage.execute(
            "INSERT INTO {ks}.json (id, profile, kept, emptied, strict) VALUES (%s, %s, %s, %s, %s)",
            [name, text, text, text, strict],
        )
    stage.execute("UPDATE {ks}.json SET many = ['1', 'x'], mapped = {'a.b': '[2]', 'c': 'x'} WHERE id = 'good'")
    moment = "'2026-02-03T04:05:06.789+0530'"
    stage.execute(
        "INSERT INTO {ks}.dated (id, plain, day, millis, spelt, short, times) "
        f"VALUES ('d', {moment}, {moment}, {moment}, {moment}, '2026-02-03', [{moment}])"
    )
    stage.execute(
        f"INSERT INTO {{ks}}.nested (id, home, homes, named, counts) VALUES ('n', {address}, [{address}, "
        f"{{street_name: 'x'}}], {{'home': {address}}}, {{-1: 2}})"
    )
    stage.execute(
        f"INSERT INTO {{ks}}.numbers (id, amount, big, long, many) VALUES ('exact', {EXACT}, {LARGE}, {2**63 - 1}, "
        "[1.10, 1E+3])"
    )
    stage.execute("INSERT INTO {ks}.numbers (id) VALUES ('none')")
    stage.execute("INSERT INTO {ks}.blobs (id, data, many) VALUES ('b', 0x00fffe7f, {0x, 0x01})")
    for name, vector in (("east", "[1, 0, 0]"), ("north", "[0, 1, 0.5]"), ("none", "null")):
        stage.execute(f"INSERT INTO {{ks}}.vectors (id, place) VALUES ('{name}', {vector})")
    for number in range(2):
        stage.execute("INSERT INTO {ks}.piped (id, v) VALUES (%s, 0)", [f"p{number}"])
    for name, gone in (("absent", "null"), ("false", "false"), ("true", "true")):
        stage.execute(f"INSERT INTO {{ks}}.shown_where (id, name, isdeleted) VALUES ('{name}', 'x', {gone})")
    for number, tags in ((1, "{'x'}"), (2, "{'x', 'y'}"), (3, "null")):
        stage.execute(f"INSERT INTO {{ks}}.shown_by (id, status, tags) VALUES ({number}, {number}, {tags})")
    stage.execute(
        "INSERT INTO {ks}.computed (id, first, last, flags, tags, price, profile) "
        "VALUES ('c', 'Asha', 'Rao', 7, {'b', 'dd', 'cc'}, 9.99, '{\"city\": \"Pune\"}')"
    )
    stage.execute("INSERT INTO {ks}.computed (id) VALUES ('none')")
    for course, state in (("c1", "live"), ("c2", "live"), ("draft", "draft")):
        stage.execute(f"INSERT INTO {{ks}}.course (id, state, start) VALUES ('{course}', '{state}', {moment})")
        for number in range(3):
            stage.execute("INSERT INTO {ks}.unit (course, number, level) VALUES (%s, %s, 2)", [course, number])


def search(stage: Stage, name: str, **query: Any) -> list[str]:
    """Return the ids of the documents that a query finds, best first."""
    stage.elastic.indices.refresh(index=stage.alias(name))
    return [hit["_id"] for hit in stage.elastic.search(index=stage.alias(name), size=100, **query)["hits"]["hits"]]


def properties(stage: Stage, name: str) -> Any:
    return stage.mapping_of(name)["properties"]


@pytest.mark.parametrize("name", IDS)
def test_a_preview_is_the_document_byte_for_byte(shown: Stage, name: str) -> None:
    previews = asyncio.run(preview(load(shown.daemon.config_path), name, IDS[name]))
    assert len(previews) == len(IDS[name])
    assert any(each.expected is not None for each in previews)
    for each in previews:
        assert each.error is None
        assert each.is_equal, each.differing
        assert each.expected == (None if each.indexed is None else orjson.dumps(each.indexed))


@pytest.mark.parametrize(("name", "separator"), [("joined_id", ":"), ("template_id", "_")])
def test_no_two_keys_give_one_id(shown: Stage, name: str, separator: str) -> None:
    documents = shown.documents(name)
    assert len(documents) == len(PARTS) ** 2
    for identity, document in documents.items():
        assert document["v"] == f"{document['a']}|{document['b']}"
        if not {separator, "\\"} & {*document["v"]}:
            assert identity == separator.join([document["a"], document["b"], "1"])
    answer = sync(shown, name, *documents)
    assert answer.result["esSyncResponse"] == dict.fromkeys(documents, True)
    assert answer.result["counts"]["indexed"] == len(documents)


def hashed(readable: str) -> str:
    return "sha256:" + hashlib.sha256(readable.encode()).hexdigest()


def test_a_long_key_has_its_hash_as_id_and_is_found_by_the_key_itself(shown: Stage) -> None:
    assert set(shown.documents("long_id")) == {FITTING, *map(hashed, LONG)}
    assert sorted(search(shown, "long_id", query={"exists": {"field": "cdc_key"}})) == sorted(map(hashed, LONG))
    for key in LONG:
        assert search(shown, "long_id", query={"term": {"cdc_key": key}}) == [hashed(key)]
        source = shown.elastic.get(index=shown.alias("long_id"), id=hashed(key))["_source"]
        assert source == {"id": key, "v": 1, "cdc_key": key}
        shown.elastic.delete(index=shown.alias("long_id"), id=hashed(key))
        answer = sync(shown, "long_id", key)
        assert answer.result["esSyncResponse"] == {key: True}
        assert shown.get("long_id", hashed(key)) == {"id": key, "v": 1}


def test_documents_of_long_keys_go_with_their_rows(shown: Stage) -> None:
    """A row, a range and a partition: none of them names the hash."""
    partition = "q" * 400
    names = {c: hashed(f"{partition}:{c * 200}") for c in "abcd"}
    for c in names:
        shown.execute("INSERT INTO {ks}.long_ids (p, c, v) VALUES (%s, %s, 1)", [partition, c * 200])
    shown.settle()

    def left() -> set[str]:
        shown.settle()
        there = shown.documents("long_ids")
        return {c for c, name in names.items() if name in there}

    assert left() == {*"abcd"}
    shown.execute("DELETE FROM {ks}.long_ids WHERE p = %s AND c = %s", [partition, "a" * 200])
    assert left() == {*"bcd"}
    shown.execute("DELETE FROM {ks}.long_ids WHERE p = %s AND c > %s", [partition, "c" * 200])
    assert left() == {*"bc"}
    shown.execute("DELETE FROM {ks}.long_ids WHERE p = %s", [partition])
    assert left() == set()
    shown.execute("DELETE FROM {ks}.long_id WHERE id = %s", [LONG[0]])
    shown.settle()
    assert shown.get("long_id", hashed(LONG[0])) is None
    shown.execute("INSERT INTO {ks}.long_id (id, v) VALUES (%s, 1)", [LONG[0]])
    shown.settle()
    assert shown.get("long_id", hashed(LONG[0])) == {"id": LONG[0], "v": 1}


def test_documents_of_long_keys_go_with_their_table(shown: Stage) -> None:
    """Truncated: each document's row is told by the key that it carries, as nothing else tells it."""
    assert set(shown.documents("long_cut")) == {FITTING, *map(hashed, LONG)}
    shown.execute("TRUNCATE {ks}.long_cut")
    shown.execute("INSERT INTO {ks}.long_cut (id, v) VALUES (%s, 2)", [LONG[0]])
    left = {hashed(LONG[0]): {"id": LONG[0], "v": 2}}
    wait_for("the other documents' removal", lambda: shown.documents("long_cut") == left, pause=0.2)


def test_fields_are_called_as_declared(shown: Stage) -> None:
    home = {"street_name": "MG Road", "geo_point": [12.5, 77.5]}
    as_is = {"id": "u1", "user_name": "Asha", "root_org_id": None, "home_address": home}
    assert shown.get("as_is", "u1") == as_is
    assert shown.get("explicit", "u1") == {"identifier": "u1", "name": "Asha", "home_address": home}
    camel = {"streetName": "MG Road", "geoPoint": [12.5, 77.5]}
    assert shown.get("camel", "u1") == {"id": "u1", "userName": "Asha", "organisation": None, "homeAddress": camel}
    listed = {"street": "MG Road", "geo_point": [12.5, 77.5]}
    assert shown.get("listed", "u1") == {"id": "u1", "userName": "Asha", "root_org_id": None, "home_address": listed}
    for name, field in (("as_is", "street_name"), ("camel", "streetName"), ("listed", "street")):
        address = "homeAddress" if name == "camel" else "home_address"
        assert search(shown, name, query={"match": {f"{address}.{field}": "road"}}) == ["u1"]


def test_nulls_are_kept_or_dropped_and_constants_stand_in_each(shown: Stage) -> None:
    full = {"id": "full", "a": "", "b": 0, "tags": ["t"]}
    assert shown.get("keep", "full") == full
    assert shown.get("drop", "full") == full
    assert shown.get("keep", "empty") == {"id": "empty", "a": None, "b": None, "tags": None}
    assert shown.get("drop", "empty") == {"id": "empty"}
    always = shown.mappings["constant"]["constants"]
    assert shown.get("constant", "full") == {"b": 0, **always}
    assert shown.get("constant", "empty") == always
    assert len(search(shown, "constant", query={"term": {"version": 2}})) == 2


def test_texts_that_hold_json_are_objects(shown: Stage) -> None:
    good = {"a": [1, {"b": None}]}
    own = {"id": "good", "many": [1, "x"], "mapped": {"a.b": [2], "c": None}}
    assert shown.get("json", "good") == {**own, **dict.fromkeys(("profile", "kept", "emptied", "strict"), good)}
    rest = {"many": None, "mapped": None}
    assert shown.get("json", "bad") == {
        **rest,
        "id": "bad",
        "profile": None,
        "kept": '{"a": ',
        "emptied": [],
        "strict": True,
    }
    for blank in ("blank", "none"):
        nothing: dict[str, Any] = {"profile": None, "kept": None, "emptied": [], "strict": None}
        assert shown.get("json", blank) == {"id": blank, **rest, **nothing}


def test_moments_have_the_forms_declared_and_are_searched_by_them(shown: Stage) -> None:
    assert shown.get("dated", "d") == {
        "id": "d",
        "plain": "2026-02-02T22:35:06.789Z",
        "day": "2026-02-02",
        "millis": 1770071706789,
        "spelt": "2026-02-02 22:35:06:789+0000",
        "short": "03/02/2026",
        "times": ["2026-02-02T22:35"],
    }
    for field, value in (shown.get("dated", "d") or {}).items():
        if field != "id":
            one = value[0] if isinstance(value, list) else value
            assert search(shown, "dated", query={"range": {field: {"gte": one, "lte": one}}}) == ["d"], field


def test_user_types_and_maps_are_objects(shown: Stage) -> None:
    home = {"streetName": "MG Road", "geoPoint": [12.5, 77.5]}
    assert shown.get("nested", "n") == {
        "id": "n",
        "home": home,
        "homes": [home, {"streetName": "x", "geoPoint": None}],
        "named": {"home": home},
        "counts": {"-1": 2},
    }
    assert search(shown, "nested", query={"match": {"homes.streetName": "road"}}) == ["n"]
    assert search(shown, "nested", query={"range": {"home.geoPoint": {"gt": 77}}}) == ["n"]
    assert set(properties(shown, "nested")["home"]["properties"]) == {"streetName", "geoPoint"}
    assert properties(shown, "nested")["counts"]["type"] in {"flattened", "flat_object"}
    assert search(shown, "nested", query={"term": {"counts.-1": "2"}}) == ["n"]


def test_numbers_of_any_length_keep_each_digit(shown: Stage) -> None:
    """As texts: they are found by their size, and exactly by their text."""
    exact = {"id": "exact", "amount": EXACT, "big": LARGE, "long": 2**63 - 1, "many": ["1.10", "1E+3"]}
    assert shown.get("numbers", "exact") == exact
    for field in ("amount", "big"):
        found = properties(shown, "numbers")[field]
        assert (found["type"], found["fields"]["exact"]["type"]) == ("double", "keyword")
    for field, name in (("amount", "amount.exact"), ("big", "big.exact"), ("long", "long")):
        assert search(shown, "numbers", query={"term": {name: exact[field]}}) == ["exact"]
    assert search(shown, "numbers", query={"range": {"amount": {"lt": -1.2e39}}}) == ["exact"]
    assert search(shown, "numbers", query={"term": {"long": 2**63 - 2}}) == []
    assert shown.get("ranged", "exact") == exact
    assert search(shown, "ranged", query={"range": {"amount": {"lt": -1.2e39}}}) == ["exact"]


def test_blobs_are_base64(shown: Stage) -> None:
    found = shown.get("blobs", "b") or {}
    assert base64.b64decode(found["data"], validate=True) == b"\x00\xff\xfe\x7f"
    assert found["many"] == ["", "AQ=="]
    assert properties(shown, "blobs")["data"] == {"type": "binary"}


@pytest.mark.other_engines
def test_vectors_are_searched_by_their_neighbours(shown: Stage) -> None:
    mapped = properties(shown, "vectors")["place"]
    if indexes_vectors():
        assert (mapped["type"], mapped["dims"]) == ("dense_vector", 3)
        for vector, nearest in (([0.9, 0.1, 0], ["east", "north"]), ([0, 2, 1], ["north", "east"])):
            knn = {"field": "place", "query_vector": vector, "k": 2, "num_candidates": 10}
            assert search(shown, "vectors", knn=knn) == nearest
    else:
        assert mapped == {"type": "object", "enabled": False}
    assert shown.get("vectors", "north") == {"id": "north", "place": [0.0, 1.0, 0.5]}
    assert shown.get("vectors", "none") == {"id": "none", "place": None}


def test_documents_are_removed_from_the_shard_that_they_were_routed_to(shown: Stage) -> None:
    def there(tenant: str) -> list[str]:
        query = {"term": {"tenant.keyword": tenant}}
        found = search(shown, "routed", query=query)
        assert sorted(found) == sorted(search(shown, "routed", query=query, routing=f"tenant-{tenant}"))
        return sorted(found)

    for tenant in "abcd":
        for number in range(4):
            shown.execute("INSERT INTO {ks}.routed (tenant, id, v) VALUES (%s, %s, 'v')", [tenant, number])
    shown.settle()
    shards = shown.elastic.search(index=shown.alias("routed"), size=100)["hits"]["hits"]
    assert {hit["_routing"] for hit in shards} == {f"tenant-{tenant}" for tenant in "abcd"}
    assert there("a") == ["a:0", "a:1", "a:2", "a:3"]
    shown.execute("DELETE FROM {ks}.routed WHERE tenant = 'a' AND id = 1")
    shown.execute("DELETE FROM {ks}.routed WHERE tenant = 'b' AND id > 1")
    shown.execute("DELETE FROM {ks}.routed WHERE tenant = 'c'")
    shown.settle()
    assert [there(tenant) for tenant in "abc"] == [["a:0", "a:2", "a:3"], ["b:0", "b:1"], []]
    assert len(there("d")) == 4
    shown.execute("DELETE FROM {ks}.routed WHERE tenant = 'd' AND id = 0")
    assert sync(shown, "routed", "d:0").result["esSyncResponse"] == {"d:0": True}
    assert len(there("d")) == 3


def test_documents_go_through_the_pipeline(shown: Stage) -> None:
    """Without the pipeline none is written; once it is there they are. Pipelines may write fields in another order."""
    shown.elastic.ingest.delete_pipeline(id=shown.keyspace)
    shown.execute("UPDATE {ks}.piped SET v = 1 WHERE id = 'p1'")
    shown.daemon.wait_event("elasticsearch.alias_unavailable", error_type="illegal_argument_exception")
    assert shown.get("piped", "p1") == {"id": "p1", "v": 0}
    shown.elastic.ingest.put_pipeline(id=shown.keyspace, processors=[])
    shown.settle()
    assert shown.get("piped", "p1") == {"id": "p1", "v": 1}
    previews = asyncio.run(preview(load(shown.daemon.config_path), "piped", ["p0", "p1"]))
    assert all(each.is_equal and each.indexed for each in previews)


def test_a_filter_that_stops_matching_removes_the_document_and_one_that_matches_again_brings_it_back(
    shown: Stage,
) -> None:
    def there() -> set[str]:
        shown.settle()
        return set(shown.documents("shown_where"))

    assert there() == {"absent", "false"}
    shown.execute("UPDATE {ks}.shown_where SET isdeleted = true WHERE id = 'absent'")
    shown.execute("UPDATE {ks}.shown_where SET isdeleted = true WHERE id = 'false'")
    assert there() == set()
    assert sync(shown, "shown_where", "false").result["esSyncResponse"] == {"false": True}
    shown.execute("DELETE isdeleted FROM {ks}.shown_where WHERE id = 'absent'")
    shown.execute("UPDATE {ks}.shown_where SET isdeleted = false WHERE id = 'false'")
    assert there() == {"absent", "false"}
    assert shown.get("shown_where", "false") == {"id": "false", "name": "x", "isdeleted": False}

    assert set(shown.documents("shown_by")) == {"2"}
    shown.execute("UPDATE {ks}.shown_by SET tags = tags + {'x'} WHERE id = 3")
    shown.execute("UPDATE {ks}.shown_by SET tags = tags - {'x'} WHERE id = 2")
    shown.settle()
    assert set(shown.documents("shown_by")) == {"3"}
    shown.execute("UPDATE {ks}.shown_by SET tags = {'x', 'y'} WHERE id = 2")
    shown.execute("DELETE tags FROM {ks}.shown_by WHERE id = 3")
    shown.settle()
    assert set(shown.documents("shown_by")) == {"2"}


def test_fields_are_computed(shown: Stage) -> None:
    assert shown.get("computed", "c") == {
        "id": "c",
        "first": "Asha",
        "last": "Rao",
        "flags": 7,
        "tags": ["b", "cc", "dd"],
        "price": "9.99",
        "fullName": "Asha Rao",
        "emailVerified": True,
        "greeting": "Dear ASHA RAO",
        "tagged": 3,
        "city": "Pune",
        "idHash": hashlib.sha256(b"c").hexdigest(),
        "long": ["cc", "dd"],
        "label": "cheap",
    }
    found = shown.get("computed", "none") or {}
    assert (found["emailVerified"], found["tagged"], found["long"]) == (False, 0, None)
    assert properties(shown, "computed")["emailVerified"] == {"type": "boolean"}


def test_a_hook_makes_or_hides_a_document_and_one_that_raises_concerns_its_own_alone(shown: Stage) -> None:
    units = [{"number": number, "level": 2} for number in range(3)]
    live = {"state": "live", "start": "2026-02-02T22:35:06.789Z", "units": units, "levels": 6, "secondsOfDay": 81300}
    assert shown.documents("course") == {name: {"id": name, **live} for name in ("c1", "c2")}
    shown.execute("INSERT INTO {ks}.course (id, state, start) VALUES ('broken', 'broken', 0)")
    shown.execute("UPDATE {ks}.course SET state = 'draft' WHERE id = 'c1'")
    shown.execute("INSERT INTO {ks}.unit (course, number, level) VALUES ('c2', 3, 4)")
    shown.settle()
    more = {"units": [*units, {"number": 3, "level": 4}], "levels": 10}
    assert shown.documents("course") == {"c2": {"id": "c2", **live, **more}}
    (letter,) = dead_letters(shown, "course")
    assert (letter["key"], letter["reason"]) == ({"id": "broken"}, "HookError")
    assert json.loads(letter["row"]) | {"id": "broken", "state": "broken"} == json.loads(letter["row"])
    assert "the hook raised LookupError: no price for broken" in json.dumps(letter)

    shown.execute("UPDATE {ks}.course SET state = 'live' WHERE id = 'c1'")
    shown.execute("DELETE FROM {ks}.course WHERE id = 'broken'")
    shown.execute("DELETE FROM {ks}.unit WHERE course = 'c2' AND number = 3")
    shown.settle()
    assert shown.documents("course") == {name: {"id": name, **live} for name in ("c1", "c2")}
    assert dead_letters(shown, "course") == []


def test_a_text_that_must_be_json_and_is_none_sets_its_document_aside(shown: Stage) -> None:
    shown.execute("INSERT INTO {ks}.json (id, strict) VALUES ('unread', '{')")
    shown.execute("INSERT INTO {ks}.json (id, strict) VALUES ('read', '{}')")
    shown.settle()
    assert (shown.get("json", "read") or {})["strict"] == {}
    assert shown.get("json", "unread") is None
    (letter,) = wait_for("the dead letter", lambda: dead_letters(shown, "json"))
    assert (letter["key"], letter["reason"], letter["document"]) == ({"id": "unread"}, "JsonTextError", None)
    assert json.loads(letter["row"])["strict"] == "{"
    (previewed,) = asyncio.run(preview(load(shown.daemon.config_path), "json", ["unread"]))
    assert isinstance(previewed.error, JsonTextError)
    assert (previewed.id, previewed.source) == ("unread", letter["row"].encode())
    assert "expected JSON in column 'strict'" in json.dumps(letter)


def dead_letters(stage: Stage, table: str) -> list[dict[str, Any]]:
    config = ("--config", str(stage.daemon.config_path), "--json")
    result = CliRunner().invoke(app, ["dead-letters", "list", "--table", f"{stage.keyspace}.{table}", *config])
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)["dead_letters"]
    return found
