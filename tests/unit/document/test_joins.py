from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from cdc_daemon.commitlog.schema import TableMetadata
from cdc_daemon.config import MappingSettings
from cdc_daemon.document.field_types import ANYTHING
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.document.related import Joined
from cdc_daemon.model.errors import ConfigError, DocumentError
from cdc_daemon.model.signal import Scope, Signal, TableName
from cdc_daemon.pipeline.routing import find_routes, references_of
from tests.unit.document.tables import table

TABLES: dict[TableName, TableMetadata] = {
    TableName("sunbird", made.name): made
    for made in (
        table(
            ("id", "text", "partition_key"), ("rootorgid", "text", "regular"), ("age", "int", "regular"), name="user"
        ),
        table(
            ("userid", "text", "partition_key"),
            ("role", "text", "clustering"),
            ("scope", "text", "regular"),
            ("rank", "int", "regular"),
            name="role",
        ),
        table(("id", "text", "partition_key"), ("orgname", "text", "regular"), name="org"),
        table(
            ("tenant", "text", "partition_key"), ("userid", "text", "clustering"), ("x", "text", "regular"), name="wide"
        ),
    )
}
ROLES: dict[str, Any] = {"table": "sunbird.role", "on": {"userid": "id"}, "exclude": ["userid"]}
ORG: dict[str, Any] = {
    "table": "sunbird.org",
    "on": {"id": "rootorgid"},
    "fields": {"orgname": "rootOrgName"},
    "dependents": {"field": "rootOrgId"},
}


def mapping(**settings: Any) -> DocumentMapping:
    declared = MappingSettings.model_validate({"table": "sunbird.user", "alias": "a", **settings})
    return DocumentMapping("user", declared, TABLES[TableName("sunbird", "user")], TABLES)


def built(made: DocumentMapping, children: Sequence[tuple[Any, ...]], *looked_up: Any) -> dict[str, Any]:
    """Build the document of a user with these rows of `role`."""
    columns = ["id", "age", "rootorgid"]
    columns += [lookup.relation.value_name(column) for lookup in made.lookups for column in lookup.relation.columns]
    columns += [join.relation.joined_name for join in made.joins]
    joined = Joined(("userid", "role", "scope", "rank"), children)
    body = made.compile(columns)(("u1", 7, "o1", *looked_up, *[joined] * len(made.joins)), (b"u1", ()), 0, 0.0).body
    assert body is not None
    found: dict[str, Any] = orjson.loads(body)
    return found


CHILDREN = [("u1", "ADMIN", '{"a": 1}', 2), ("u1", "GUEST", None, None), ("u1", "OWNER", "", 9)]


def test_children_are_a_list_in_their_own_order_with_the_language_of_documents() -> None:
    made = mapping(joins={"roles": {**ROLES, "json_text": {"scope": {"empty": []}}, "fields": {"rank": "place"}}})
    assert built(made, CHILDREN)["roles"] == [
        {"role": "ADMIN", "scope": {"a": 1}, "place": 2},
        {"role": "GUEST", "scope": [], "place": None},
        {"role": "OWNER", "scope": [], "place": 9},
    ]
    assert built(made, [])["roles"] == []


def test_a_filter_an_order_and_a_map() -> None:
    only = {"table": "sunbird.role", "on": {"userid": "id"}, "include": ["rank"]}
    made = mapping(
        joins={
            "descending": {**only, "order": ["-rank"]},
            "ascending": {**only, "order": ["rank"]},
            "chosen": {**only, "where": {"role": ["ADMIN", "OWNER"]}},
            "by_role": {**only, "form": "map", "key": "role"},
            "highest": {**only, "form": "first", "order": ["-rank"]},
        }
    )
    document = built(made, CHILDREN)
    assert [each["rank"] for each in document["descending"]] == [9, 2, None]
    assert [each["rank"] for each in document["ascending"]] == [2, 9, None]
    assert [each["rank"] for each in document["chosen"]] == [2, 9]
    assert document["by_role"] == {"ADMIN": {"rank": 2}, "GUEST": {"rank": None}, "OWNER": {"rank": 9}}
    assert document["highest"] == {"rank": 9}
    nothing = built(made, [])
    assert (nothing["by_role"], nothing["highest"], nothing["chosen"]) == ({}, None, [])


def test_a_look_up_gives_its_fields_a_prefix_and_expressions_see_them() -> None:
    made = mapping(
        lookups={"root": {**ORG, "prefix": "my_"}}, computed={"shout": "my_rootOrgName"}, joins={"roles": ROLES}
    )
    document = built(made, [], "One")
    assert document["my_rootOrgName"] == "One"
    assert document["shout"] == "One"
    assert built(made, [], None)["my_rootOrgName"] is None


def test_more_children_than_may_be_are_an_error_of_their_document() -> None:
    made = mapping(joins={"roles": {**ROLES, "limit": 2}})
    row = ("u1", 7, "o1", Joined(("role",), [("a",), ("b",)], complete=False))
    with pytest.raises(DocumentError, match=r"at most 2 rows of sunbird\.role"):
        made.compile(["id", "age", "rootorgid", made.joins[0].relation.joined_name])(row, (b"u1", ()), 0, 0.0)


def test_the_index_mapping_shows_children_and_looked_up_fields() -> None:
    only = {"table": "sunbird.role", "on": {"userid": "id"}, "include": ["rank"]}
    made = mapping(
        joins={
            "roles": only,
            "apart": {**only, "nested": True},
            "by_role": {**ROLES, "form": "map", "key": "role"},
        },
        lookups={"root": ORG},
    )
    properties = made.index_mapping()["properties"]
    assert properties["roles"] == {"properties": {"rank": {"type": "integer"}}}
    assert properties["apart"] == {"type": "nested", "properties": {"rank": {"type": "integer"}}}
    assert properties["by_role"] == ANYTHING
    assert properties["rootOrgName"]["type"] in {"keyword", "text"}


@pytest.mark.parametrize(
    ("settings", "message", "hint"),
    [
        ({"joins": {"r": {**ROLES, "on": {"usrid": "id"}}}}, r"key columns of sunbird\.role", "userid"),
        ({"joins": {"r": {**ROLES, "on": {"userid": "ident"}}}}, "a column in on, found 'ident'", None),
        ({"joins": {"r": {**ROLES, "on": {"role": "id"}}}}, "on to name userid", "first columns of their key"),
        ({"joins": {"r": {**ROLES, "on": {"userid": "age"}}}}, "of one type", None),
        ({"joins": {"r": {**ROLES, "exclude": ["scop"]}}}, "scop", "scope"),
        ({"joins": {"r": {**ROLES, "order": ["-rnk"]}}}, "in order, found 'rnk'", "rank"),
        ({"joins": {"r": {**ROLES, "form": "map", "key": "rol"}}}, "in key, found 'rol'", "role"),
        ({"joins": {"r": {**ROLES, "where": {"scpe": None}}}}, "scpe", "scope"),
        ({"joins": {"age": ROLES}}, "age", None),
        ({"lookups": {"o": {**ORG, "fields": {"orgnam": "x"}}}}, "in fields, found 'orgnam'", "orgname"),
        ({"lookups": {"o": {**ORG, "fields": {"orgname": "age"}}}}, "age", None),
        (
            {"lookups": {"o": {**ORG, "table": "sunbird.role", "on": {"userid": "id"}, "fields": {"rank": "x"}}}},
            "on to name userid, role",
            "whole",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place_and_the_nearest_name(
    settings: dict[str, Any], message: str, hint: str | None
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        mapping(**settings)
    assert str(caught.value.where["mapping"]).startswith("user")
    if hint is not None:
        assert hint in str(caught.value.hint)


def test_a_childs_key_tells_its_parent() -> None:
    ((joined, route),) = find_routes([mapping(joins={"roles": ROLES})], TABLES.__getitem__)
    assert joined == TableName("sunbird", "role")
    for clustering in ((b"ADMIN",), None):
        signal = route.signal(b"u1", clustering, 5)
        assert signal == Signal(TableName("sunbird", "user"), b"u1", Scope.ROW, passed_on=True, since=5)


def test_what_a_key_does_not_tell_has_to_be_declared() -> None:
    hidden = {key: value for key, value in ORG.items() if key != "dependents"}
    with pytest.raises(ConfigError, match=r"expected dependents, as the key of sunbird\.org") as caught:
        find_routes([mapping(lookups={"root": hidden})], TABLES.__getitem__)
    assert caught.value.where["mapping"] == "user.lookups.root"
    assert find_routes([mapping(lookups={"root": ORG})], TABLES.__getitem__) == []


def test_a_look_up_by_the_documents_own_key_is_told_through_a_join_too() -> None:
    inner = {"table": "sunbird.org", "on": {"id": "userid"}, "fields": {"orgname": "name"}}
    made = mapping(joins={"roles": {**ROLES, "lookups": {"self": inner}}})
    references = list(references_of(made))
    assert [each.place for each in references] == ["user.joins.roles", "user.joins.roles.lookups.self"]
    routes = dict(find_routes([made], TABLES.__getitem__))
    assert routes[TableName("sunbird", "org")].signal(b"u1", (), 0).partition_key == b"u1"


def test_of_children_with_one_name_a_map_shows_the_last_in_their_order() -> None:
    only = {"table": "sunbird.role", "on": {"userid": "id"}, "include": ["rank"], "form": "map", "key": "scope"}
    made = mapping(joins={"clustered": only, "ordered": {**only, "order": ["-rank"]}})
    document = built(made, [("u1", "A", "x", 2), ("u1", "B", "x", 9), ("u1", "C", "x", 5)])
    assert document["clustered"] == {"x": {"rank": 5}}
    assert document["ordered"] == {"x": {"rank": 2}}
