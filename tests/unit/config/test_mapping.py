"""What joins, look-ups and dependents may say, before any schema is known."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from cdc_daemon.config import MappingSettings
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
    ],
)
def test_mistakes(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        settings(**parts)
