from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from cdc_daemon.cli.checks.finding import Finding
from cdc_daemon.cli.checks.tables import check_tables
from cdc_daemon.config import MappingSettings
from cdc_daemon.model.signal import TableName

Columns = dict[str, str]
ENROLMENTS = {"userid": "partition_key", "courseid": "clustering", "active": "regular", "progress": "regular"}


class Schema:
    """Answers the queries that are sent to `system_schema`."""

    def __init__(self, *, cdc: bool = True, durable: bool = True, keyspace: str = "k", table: str = "t") -> None:
        self.tables: dict[tuple[str, str], tuple[bool, Columns]] = {(keyspace, table): (cdc, ENROLMENTS)}
        self.keyspaces = {keyspace: durable, "system": True}

    def query(self, text: str, parameters: Sequence[object]) -> Iterable[Any]:
        if "system_schema.keyspaces" in text:
            return [SimpleNamespace(keyspace_name=name, durable_writes=flag) for name, flag in self.keyspaces.items()]
        if "table_name = %s" not in text:
            return [SimpleNamespace(table_name=table) for keyspace, table in self.tables if keyspace == parameters[0]]
        found = self.tables.get((str(parameters[0]), str(parameters[1])))
        if found is None:
            return []
        if "system_schema.columns" in text:
            return [SimpleNamespace(column_name=name, kind=kind) for name, kind in found[1].items()]
        return [SimpleNamespace(cdc=found[0])]


def _check(schema: Schema | None = None, table: tuple[str, str] = ("k", "t"), **mapping: Any) -> dict[str, Finding]:
    settings = MappingSettings(table=TableName(*table), alias="a", **mapping)
    found = list(check_tables((schema or Schema()).query, {"course": settings}))
    assert len({finding.name for finding in found}) == len(found)
    return {finding.name: finding for finding in found}


def test_a_table_as_it_should_be() -> None:
    findings = _check(id="{userid}_{courseid}", fields={"active": "isActive"})
    assert {name: finding.status for name, finding in findings.items()} == {
        "table.course": "ok",
        "columns.course": "ok",
        "id.course": "ok",
    }
    assert findings["columns.course"].found == "documents contain 4 of 4 columns"


@pytest.mark.parametrize(
    ("keyspace", "table", "statement"),
    [
        ("k", "t", "ALTER TABLE k.t WITH cdc = true;"),
        ("Mixed", "t", 'ALTER TABLE "Mixed".t WITH cdc = true;'),
        ("k", "1st", 'ALTER TABLE k."1st" WITH cdc = true;'),
    ],
)
def test_a_table_without_cdc_is_mended_by_one_statement(keyspace: str, table: str, statement: str) -> None:
    finding = _check(Schema(cdc=False, keyspace=keyspace, table=table), (keyspace, table))["table.course"]
    assert finding.status == "fail"
    assert finding.mend == statement


def test_a_keyspace_without_durable_writes_has_no_commit_log() -> None:
    found = list(
        check_tables(Schema(durable=False).query, {"c": MappingSettings(table=TableName("k", "t"), alias="a")})
    )
    assert found[0].status == "fail"
    assert found[0].mend == "ALTER KEYSPACE k WITH durable_writes = true;"


def test_no_such_table() -> None:
    finding = _check(Schema(table="user_enrolments"), ("k", "user_enrolment"))["table.course"]
    assert finding.status == "fail"
    assert finding.mend == "did you mean user_enrolments for user_enrolment?"


def test_no_such_keyspace() -> None:
    finding = _check(Schema(keyspace="sunbird_courses"), ("sunbird_course", "t"))["table.course"]
    assert finding.found == "there is no keyspace sunbird_course"
    assert finding.mend == "did you mean sunbird_courses for sunbird_course?"
    assert _check(table=("zzz", "t"))["table.course"].mend == "create it, or remove the mapping"


def test_columns_that_are_not_there() -> None:
    finding = _check(fields={"activ": "isActive"}, exclude=("zzz",))["columns.course"]
    assert finding.status == "fail"
    assert finding.found == "k.t has no column activ, zzz"
    assert finding.mend == "did you mean active for activ?"
    assert _check(include=("zzz",))["columns.course"].mend == "its columns are active, courseid, progress, userid"


def test_how_many_columns_are_shown() -> None:
    assert _check(include=("active",))["columns.course"].found == "documents contain 1 of 4 columns"
    assert _check(exclude=("active",))["columns.course"].found == "documents contain 3 of 4 columns"


def test_an_id_of_other_columns_fails() -> None:
    finding = _check(id="{userid}_{progress}")["id.course"]
    assert finding.status == "fail"
    assert "progress" in finding.found


def test_an_id_without_the_whole_key_is_warned_of() -> None:
    finding = _check(id="{userid}")["id.course"]
    assert finding.status == "warn"
    assert "courseid" in finding.found


def test_an_id_of_its_own_making_has_the_whole_key() -> None:
    assert _check()["id.course"].found == "the document id consists of the key columns: userid, courseid"
