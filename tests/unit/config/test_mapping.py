"""What joins, look-ups and dependents may say, before any schema is known."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from cdc_daemon.config import MappingSettings
from cdc_daemon.model.document_operation import RemovalMark
from cdc_daemon.model.signal import TableName

JOIN: dict[str, Any] = {"table": "k.child", "on": {"userid": "id"}}
LOOKUP: dict[str, Any] = {"table": "k.org", "on": {"id": "orgid"}, "fields": {"name": "orgName"}}
TABLE = {"table": "k.users_by_org", "on": {"orgid": "id"}, "key": {"id": "userid"}}


def settings(**parts: Any) -> MappingSettings:
    return MappingSettings.model_validate({"table": "k.t", "alias": "a", **parts})


def test_the_tables_joined_are_known() -> None:
    made = settings(joins={"c": {**JOIN, "lookups": {"o": LOOKUP}}}, lookups={"p": {**LOOKUP, "table": "k.place"}})
    assert made.joined_tables == {TableName("k", "child"), TableName("k", "org"), TableName("k", "place")}


@pytest.mark.parametrize("dependents", [{"field": "orgId"}, TABLE, {"ignore": True}])
def test_one_way_to_find_dependents(dependents: dict[str, Any]) -> None:
    assert settings(lookups={"o": {**LOOKUP, "dependents": dependents}}).lookups["o"].dependents is not None


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"joins": {"c": {**JOIN, "form": "map"}}}, "expected a key with form: map"),
        ({"joins": {"c": {**JOIN, "key": "x"}}}, "expected a key with form: map"),
        ({"joins": {"c": {**JOIN, "on": {}}}}, "at least 1 item"),
        ({"joins": {"c": {**JOIN, "table": "child"}}}, "expected a table with its keyspace"),
        ({"joins": {"c": {**JOIN, "limit": 0}}}, "greater than or equal to 1"),
        ({"joins": {"_id": JOIN}}, "metadata"),
        ({"joins": {"c": {**JOIN, "form": "set"}}}, "'list', 'map' or 'first'"),
        ({"lookups": {"o": {**LOOKUP, "fields": {}}}}, "at least 1 item"),
        ({"lookups": {"o": {**LOOKUP, "dependents": {}}}}, "expected one of field, table and ignore"),
        ({"lookups": {"o": {**LOOKUP, "dependents": {"field": "x", "ignore": True}}}}, "expected one of field"),
        ({"lookups": {"o": {**LOOKUP, "dependents": {"table": "k.x"}}}}, "table, on and key together"),
        ({"lookups": {"o": {**LOOKUP, "dependents": {"field": "x", "on": {"a": "b"}}}}}, "table, on and key together"),
        ({"removal_mark": {"field": "gone"}}, "only with on_row_delete: mark"),
        ({"on_row_delete": "mark", "removal_mark": {"field": "x", "time_field": "x"}}, "two different fields"),
        ({"on_row_delete": "mark", "removal_mark": {"field": "cdc_key"}}, "a field of the document itself"),
        ({"on_row_delete": "mark", "removal_mark": {"time_field": "a.b"}}, "a field of the document itself"),
        ({"types": {"decimals": {"type": "double"}}}, "expected the name of a CQL type, found 'decimals'"),
        ({"types": {"list": {"type": "double"}}}, "expected the type of a value, found list"),
        ({"types": {"decimal": {"scaling_factor": 2}}}, "expected a field with a type for decimal"),
        ({"types": {"decimal": "double"}}, "should be a valid"),
        ({"on_row_delete": "keep"}, "'remove' or 'mark'"),
    ],
)
def test_mistakes(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        settings(**parts)


def test_removed_rows_are_marked_only_if_that_is_wanted() -> None:
    assert settings().mark is None
    assert settings(on_row_delete="mark").mark == RemovalMark("deleted", "deleted_at")
    named = settings(on_row_delete="mark", removal_mark={"field": "gone", "time_field": None})
    assert named.mark == RemovalMark("gone")
    assert settings(**named.model_dump(mode="json", include={"on_row_delete", "removal_mark"})).mark == named.mark
