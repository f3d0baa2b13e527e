"""Which tables `cdc-daemon init` chooses, and the mappings and joins that it proposes for them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from cdc_daemon.cli.init_tools.proposals import choose, propose
from cdc_daemon.commitlog.schema import TableMetadata
from cdc_daemon.model.errors import ConfigError
from tests.unit.cli.init_tools.conftest import Made


def names(tables: list[TableMetadata]) -> list[str]:
    return [f"{table.keyspace}.{table.name}" for table in tables]


class TestChoose:
    def test_every_table_without_a_wish(self, made: Made) -> None:
        tables = [made("a", "x"), made("b", "y")]
        assert choose(tables, keyspaces=(), names=()) == tables

    def test_the_tables_of_a_keyspace(self, made: Made) -> None:
        assert names(choose([made("a", "x"), made("b", "y")], keyspaces=["b"], names=())) == ["b.y"]

    @pytest.mark.parametrize("name", ["x", "a.x"])
    def test_a_table_by_name_with_or_without_its_keyspace(self, made: Made, name: str) -> None:
        assert names(choose([made("a", "x"), made("a", "y")], keyspaces=(), names=[name, name])) == ["a.x"]

    def test_a_name_that_two_tables_have_needs_the_keyspace(self, made: Made) -> None:
        with pytest.raises(ConfigError, match=r"several called x: a\.x, b\.x"):
            choose([made("a", "x"), made("b", "x")], keyspaces=(), names=["x"])

    def test_a_name_that_no_table_has_gets_those_that_are_like_it(self, made: Made) -> None:
        with pytest.raises(ConfigError, match="found no user") as error:
            choose([made("shop", "users"), made("shop", "orders")], keyspaces=(), names=["user"])
        assert error.value.hint == "did you mean shop.users?"

    def test_a_keyspace_that_does_not_exist(self, made: Made) -> None:
        with pytest.raises(ConfigError, match="found no nothing"):
            choose([made("shop", "users")], keyspaces=["nothing"], names=())


class TestPropose:
    def test_the_name_and_the_alias_are_those_of_the_table(self, made: Made) -> None:
        (found,) = propose([made("shop", "users")], every=())
        assert (found.name, found.alias) == ("users", "users")

    def test_tables_of_one_name_get_their_keyspaces(self, made: Made) -> None:
        tables = [made("a", "x"), made("b", "x")]
        assert [(each.name, each.alias) for each in propose(tables, every=tables)] == [("a_x", "a-x"), ("b_x", "b-x")]

    def test_what_is_taken_is_not_used_again(self, made: Made) -> None:
        (found,) = propose([made("a", "x")], every=(), taken_names=["x"], taken_aliases=["x"])
        assert (found.name, found.alias) == ("a_x", "a-x")

    def test_a_table_that_a_configuration_cannot_name_is_left_out(self, made: Made) -> None:
        assert propose([made("shop", "größe")], every=()) == []

    @pytest.mark.parametrize(
        ("parent", "key", "child", "column"),
        [
            ("users", "id", "orders", "user"),
            ("users", "id", "orders", "userid"),
            ("user", "id", "orders", "user_id"),
            ("companies", "id", "people", "company_id"),
            ("user", "userid", "orders", "userid"),
        ],
    )
    def test_a_child_named_after_the_parent_is_a_join(
        self, made: Made, parent: str, key: str, child: str, column: str
    ) -> None:
        tables = [made("s", parent, key={key: "text"}), made("s", child, key={column: "text"}, clustering={"n": "int"})]
        (join,) = propose(tables[:1], every=tables)[0].joins
        assert (join.field, join.child_column, join.parent_column) == (child, column, key)

    @pytest.mark.parametrize(
        ("child", "keyspace"),
        [
            ({"user": "uuid"}, "s"),  # another type
            ({"id": "text"}, "s"),  # a name that says nothing
            ({"user": "text", "day": "date"}, "s"),  # the parent does not have the second column
            ({"user": "text"}, "other"),
        ],
    )
    def test_others_are_no_join(self, made: Made, child: Mapping[str, str], keyspace: str) -> None:
        parent = made("s", "users", key={"id": "text"})
        assert propose([parent], every=[parent, made(keyspace, "orders", key=child)])[0].joins == []

    def test_a_field_that_is_a_column_is_no_join(self, made: Made) -> None:
        parent = made("s", "users", regular={"orders": "int"})
        assert propose([parent], every=[made("s", "orders", key={"user": "text"})])[0].joins == []
