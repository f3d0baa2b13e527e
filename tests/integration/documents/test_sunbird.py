"""Sunbird's object types on real servers: the states of their rows, written, read back and indexed as expected."""

from __future__ import annotations

from typing import Any

from sandbox.demo.schema import _SCHEMA, example_mappings, statements
from tests.integration.daemon.stage import SMALL, Stage
from tests.sunbird.states import STATES, TABLES


def stage_sunbird(stage: Stage) -> None:
    """Create Sunbird's tables in the stage's keyspace, and declare the example's mappings of them."""
    for statement in statements(_SCHEMA.read_text(encoding="utf-8")):
        if statement.startswith("CREATE TABLE"):
            stage.execute(_here(stage, statement))
    for name, mapping in example_mappings("plain").items():
        usual = {"alias": stage.alias(name), "settings": SMALL, "settings_file": None}
        usual["index"] = f"{stage.alias(name)}-000001"
        stage.mappings[name] = {**_moved(stage, mapping), **usual}


def _here(stage: Stage, text: str) -> str:
    return text.replace("sunbird_courses.", f"{stage.keyspace}.").replace("sunbird.", f"{stage.keyspace}.")


def _moved(stage: Stage, value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _here(stage, inner) if name == "table" else _moved(stage, inner) for name, inner in value.items()}
    return value


def _insert(stage: Stage, table: str, row: Any) -> None:
    names, marks = ", ".join(row), ", ".join(["%s"] * len(row))
    stage.execute(_here(stage, f"INSERT INTO {table} ({names}) VALUES ({marks})"), list(row.values()))


def test_each_state_is_indexed_as_expected(stage: Stage) -> None:
    stage_sunbird(stage)
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
