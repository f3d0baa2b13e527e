"""Mappings laid against a schema: what fits and yet does not show all of it."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from cdc_daemon.cli.checks.mappings import check_mappings
from cdc_daemon.commitlog.schema import Schema
from cdc_daemon.config import MappingSettings

COLUMNS = {
    "user": [("id", "partition_key", 0), ("name", "regular", -1)],
    "role": [
        ("userid", "partition_key", 0),
        ("scope", "clustering", 0),
        ("role", "clustering", 1),
        ("rank", "regular", -1),
    ],
}
SCHEMA = Schema.from_rows(
    tables=[{"keyspace_name": "k", "table_name": name, "id": str(uuid.uuid4())} for name in COLUMNS],
    columns=[
        {
            "keyspace_name": "k",
            "table_name": name,
            "column_name": column,
            "kind": kind,
            "position": position,
            "type": "text",
            "clustering_order": "asc" if kind == "clustering" else "none",
        }
        for name, columns in COLUMNS.items()
        for column, kind, position in columns
    ],
)


@pytest.mark.parametrize(
    ("on", "key", "told"),
    [
        ({"userid": "id"}, "rank", True),
        ({"userid": "id"}, "role", True),
        ({"userid": "id", "scope": "name"}, "role", False),
        ({"userid": "id", "scope": "name"}, "rank", True),
    ],
)
def test_a_map_that_may_show_fewer_rows_than_there_are_is_told(on: dict[str, str], key: str, told: bool) -> None:
    join: dict[str, Any] = {"table": "k.role", "on": on, "form": "map", "key": key, "dependents": {"ignore": True}}
    mapping = MappingSettings.model_validate({"table": "k.user", "alias": "a", "joins": {"roles": join}})
    (first, *others), fitting = check_mappings(SCHEMA, {"user": mapping})
    assert list(fitting) == ["user"]
    assert first.status == "ok", first
    assert [(each.name, each.status) for each in others] == [("mapping.user.joins.roles", "warn")] * told
