"""Sunbird's object types on real servers: the states of their rows, written, read back and indexed as expected."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from cdc_daemon.cli import app
from cdc_daemon.config.loading import load
from cdc_daemon.errors import ConfigError
from cdc_daemon.preview import preview
from sandbox.demo.schema import _SCHEMA, example_mappings, statements
from tests.integration.daemon.stage import Stage
from tests.sunbird.states import STATES, TABLES


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
    assert_previewed(stage)
    if indices == "full":
        assert_found_by_parts_of_names(stage)


def assert_found_by_parts_of_names(stage: Stage) -> None:
    """The analyzers of the full set find people by some letters of a name, in any case, and sort by all of it."""
    stage.elastic.indices.refresh(index=stage.alias("user"))

    def found(query: dict[str, Any]) -> list[str]:
        hits = stage.elastic.search(index=stage.alias("user"), query=query, sort=["firstName.raw"])["hits"]["hits"]
        return [hit["_source"]["firstName"] for hit in hits]

    assert found({"match": {"firstName": "SHA"}}) == ["Asha"]
    assert found({"match": {"firstName": "xyz"}}) == []
    assert found({"term": {"firstName.raw": "asha"}}) == ["Asha"]


def assert_previewed(stage: Stage) -> None:
    """A preview is what the tail wrote, byte for byte, and tells of what somebody else writes."""
    settings = load(stage.daemon.config_path)
    for object_type in TABLES:
        ids = [state.id for state in STATES if state.object_type == object_type]
        previews = asyncio.run(preview(settings, object_type, ids))
        assert [each.id for each in previews] == ids
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
    (empty,) = asyncio.run(preview(settings, "batch", ["nothing"]))
    assert (empty.id, empty.is_equal, empty.has_row) == ("nothing", True, False), "an id of a partition without rows"
    for wrong in (["preview", "locatoin", "l1"], ["preview", "user_course", "u:c"], ["preview", "location", " "]):
        refused = CliRunner().invoke(app, [*wrong, "--config", str(stage.daemon.config_path)])
        assert isinstance(refused.exception, ConfigError)
