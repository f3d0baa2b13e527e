"""Sunbird's object types on real servers: the states of their rows, written, read back and indexed as expected."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from cdc_daemon.cli.expected_documents import preview
from cdc_daemon.cli.main import app
from cdc_daemon.config.loading import load
from cdc_daemon.model.errors import ConfigError
from sandbox.demo.schema import _SCHEMA, example_mappings, statements
from tests.integration.daemon.stage import Stage
from tests.sunbird.states import STATES, TABLES, State


def stage_sunbird(stage: Stage, indices: str) -> None:
    """Create Sunbird's tables in the stage's keyspace, and declare the example's mappings of them, with their files."""
    for statement in statements(_SCHEMA.read_text(encoding="utf-8")):
        if statement.startswith("CREATE TABLE"):
            stage.execute(_here(stage, statement))
    for name, mapping in example_mappings(indices).items():
        own = {"alias": stage.alias(name), "index": f"{stage.alias(name)}-000001"}
        stage.mappings[name] = {**_moved(stage, mapping), **own}


def _here(stage: Stage, text: str) -> str:
    return text.replace("sunbird_courses.", f"{stage.keyspace}.").replace("sunbird.", f"{stage.keyspace}.")


def _moved(stage: Stage, value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _here(stage, inner) if name == "table" else _moved(stage, inner) for name, inner in value.items()}
    return value


def _insert(stage: Stage, table: str, row: Any) -> None:
    names, marks = ", ".join(row), ", ".join(["%s"] * len(row))
    stage.execute(_here(stage, f"INSERT INTO {table} ({names}) VALUES ({marks})"), list(row.values()))


@pytest.mark.parametrize("indices", ["plain", "full"])
def test_each_state_is_indexed_as_expected(stage: Stage, indices: str) -> None:
    stage_sunbird(stage, indices)
    for state in STATES:
        for table, rows in state.joined.items():
            for row in rows:
                _insert(stage, table, row)
        _insert(stage, TABLES[state.object_type], state.row)
    stage.daemon.run()
    stage.settle()
    stage.assert_nothing_set_aside()
    for state in STATES:
        assert stage.get(state.object_type, state.id) == state.expected, f"{state.object_type}: {state.name}"
    assert_live_queries_answered(stage)
    if indices == "full":
        assert_found_by_parts_of_names(stage)
    else:
        assert_whole_values_found_without_raw(stage)
    assert_previewed(stage)  # it changes a document


SORTED = {
    "user": ["firstName.raw", "createdDate.raw", "status"],
    "organisation": ["orgName.raw", "createdDate.raw", "status"],
    "location": ["name", "code", "type", "parentId", "id", "name.raw"],
    "batch": [
        "batchId",
        "courseId",
        "createdBy",
        "createdDate",
        "updatedDate",
        "name",
        "status",
        "startDate",
        "endDate",
    ],
    "user_course": ["batchId", "courseId", "userId", "enrolledDate", "completedOn", "dateTime", "status", "progress"],
}
"""Fields that the live mappings allow to sort by: .raw fields, and of the last three types the fields themselves."""

LIVE_FILTERS: list[tuple[str, dict[str, Any], set[str]]] = [
    ("user", {"term": {"firstName.raw": "asha"}}, {"u2"}),
    ("location", {"term": {"name.raw": "karnataka"}}, {"l1"}),
    ("location", {"prefix": {"name.raw": "karn"}}, {"l1"}),
    ("location", {"terms": {"type.raw": ["state", "block"]}}, {"l1"}),
    ("batch", {"term": {"courseId.raw": "do_1"}}, {"0130", "0131"}),
    ("batch", {"term": {"identifier.raw": "0131"}}, {"0131"}),
    ("batch", {"terms": {"status": [0, 1]}}, {"0131"}),
    ("batch", {"range": {"startDate.raw": {"lte": "2026-12-31"}}}, {"0131"}),
    ("batch", {"exists": {"field": "createdFor"}}, {"0131"}),
    ("user_course", {"bool": {"must": [{"term": {"userId.raw": "u1"}}, {"term": {"active.raw": True}}]}}, {"0132_u1"}),
    ("user_course", {"term": {"batchId.raw": "0130"}}, {"0130_u1"}),
]
"""What the live services send (ElasticSearchHelper): values of text in lower case, against .raw but for numbers."""


def _search(stage: Stage, object_type: str, **body: Any) -> list[str]:
    return [
        hit["_id"] for hit in stage.elastic.search(index=stage.alias(object_type), size=100, **body)["hits"]["hits"]
    ]


def assert_live_queries_answered(stage: Stage) -> None:
    """The live services read a batch by its id, filter, and sort."""
    for object_type in TABLES:
        stage.elastic.indices.refresh(index=stage.alias(object_type))
        for field in SORTED[object_type]:
            assert _search(stage, object_type, sort=[{field: "desc"}]), f"{object_type} by {field}"
    for object_type, query, expected in LIVE_FILTERS:
        assert set(_search(stage, object_type, query=query)) >= expected, query
    (course,) = [state for state in STATES if state.id == "0131"]
    assert stage.elastic.get(index=stage.alias("batch"), id=course.row["batchid"])["_source"]["courseId"] == "do_1"


def assert_whole_values_found_without_raw(stage: Stage) -> None:
    """The plain set finds and sorts whole values in any case without .raw, too."""
    for object_type, field in (("user", "firstName"), ("user", "createdDate"), ("organisation", "orgName")):
        assert _search(stage, object_type, sort=[field])
    assert _search(stage, "batch", query={"term": {"batchId": "0131"}}) == ["0131"]
    assert _search(stage, "batch", query={"match": {"courseId": "DO_1"}}, sort=["batchId"]) == ["0130", "0131"]
    assert _search(stage, "location", query={"term": {"type": "STATE"}}) == ["l1"]
    assert _search(stage, "user_course", query={"term": {"courseId": "do_2"}}) == ["0132_u1"]


def assert_found_by_parts_of_names(stage: Stage) -> None:
    """The analyzers of the full set find people by some letters of a name, in any case, and sort by all of it."""
    stage.elastic.indices.refresh(index=stage.alias("user"))

    def found(query: dict[str, Any]) -> list[str]:
        hits = stage.elastic.search(index=stage.alias("user"), query=query, sort=["firstName.raw"])["hits"]["hits"]
        return [hit["_source"]["firstName"] for hit in hits]

    assert found({"match": {"firstName": "SHA"}}) == ["Asha"]
    assert found({"match": {"firstName": "xyz"}}) == []
    assert found({"term": {"firstName.raw": "asha"}}) == ["Asha"]


def _asked(state: State) -> Any:
    """Return what names the state's row: its `_id`, or its key where the `_id` leaves columns out."""
    key = {"batch": ("courseid", "batchid"), "user_course": ("userid", "courseid", "batchid")}.get(state.object_type)
    return state.id if key is None else {column: state.row[column] for column in key}


def assert_previewed(stage: Stage) -> None:
    """A preview is what the tail wrote, byte for byte, and tells of what somebody else writes."""
    settings = load(stage.daemon.config_path)
    for object_type in TABLES:
        states = [state for state in STATES if state.object_type == object_type]
        previews = asyncio.run(preview(settings, object_type, [_asked(state) for state in states]))
        assert [each.id for each in previews] == [state.id for state in states]
        for each in previews:
            assert each.is_equal, each.differing
            assert each.expected == orjson.dumps(each.indexed)
    stage.elastic.index(index=stage.alias("location"), id="l1", document={"id": "l1", "name": "other"})
    (different,) = asyncio.run(preview(settings, "location", ["l1"]))
    assert not different.is_equal
    assert different.differing == ["code", "identifier", "name", "parentId", "type"]
    command = ["preview", "location", "--config", str(stage.daemon.config_path)]
    shown = CliRunner().invoke(app, [*command, "l1"])
    assert shown.exit_code == 1
    assert '- name: "other"' in shown.stdout
    assert '+ name: "Karnataka"' in shown.stdout
    none = CliRunner().invoke(app, [*command, "nobody", "l2", "--json"])
    assert none.exit_code == 0, none.output
    assert [(each["document"] is None, each["equal"], each["reason"]) for each in json.loads(none.stdout)] == [
        (True, True, "no_row"),
        (False, True, None),
    ]
    of_course = asyncio.run(preview(settings, "batch", ["do_1"]))
    assert [each.id for each in of_course] == ["0130", "0131"], "a text is a course, as the live services read it"
    (empty,) = asyncio.run(preview(settings, "batch", ["nothing"]))
    assert (empty.id, empty.is_equal, empty.has_row) == ("nothing", True, False), "an id of a partition without rows"
    for wrong in (["preview", "locatoin", "l1"], ["preview", "user_course", "u:c"], ["preview", "location", " "]):
        refused = CliRunner().invoke(app, [*wrong, "--config", str(stage.daemon.config_path)])
        assert isinstance(refused.exception, ConfigError)
