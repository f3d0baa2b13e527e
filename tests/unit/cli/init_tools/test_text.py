"""The text of a configuration: valid whatever the names are, without secrets, and extended without losses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.cli.init_tools.discovery import EngineReport, NodeReport
from cdc_daemon.cli.init_tools.proposals import propose
from cdc_daemon.cli.init_tools.text import Login, ServerAddresses, add_mappings, render, render_mappings
from cdc_daemon.config.loading import parse
from cdc_daemon.config.yaml_file import YamlFile
from tests.unit.cli.init_tools.conftest import Made

NODE = NodeReport("Cassandra 5.0.6", "dc1", follows_log=True, cdc_enabled=True, cdc_raw_directory="/data/cdc_raw")
POLLED = NodeReport("YugabyteDB (YCQL)", "dc1", follows_log=False, cdc_enabled=None, cdc_raw_directory=None)
ENGINE = EngineReport("OpenSearch 2.19.5")
CONNECTION = ServerAddresses(["127.0.0.1"], 9042, None, ["http://127.0.0.1:9200"], None, None, "/var/lib/cdc-daemon")


@pytest.mark.parametrize("minimal", [False, True])
@pytest.mark.parametrize("node", [NODE, POLLED])
def test_the_text_is_a_configuration(made: Made, tmp_path: Path, node: NodeReport, minimal: bool) -> None:
    tables = [made("s", "users", cdc=False), made("s", "orders", key={"user": "text"}, clustering={"n": "int"})]
    text = render(node, ENGINE, CONNECTION, propose(tables, every=tables), minimal=minimal)
    settings = parse(text, file=tmp_path / "config.yaml", environment={})
    assert [str(each.table) for each in settings.mappings.values()] == ["s.users", "s.orders"]
    assert settings.tail is node.follows_log
    assert len(settings.poll) == (0 if node.follows_log else 2)
    if node.follows_log:
        assert settings.commit_log.cdc_raw_directory == Path("/data/cdc_raw")
    assert ("#" in text) is not minimal


def test_what_the_user_should_know_is_a_comment(made: Made) -> None:
    tables = [made("s", "users", cdc=False), made("s", "orders", key={"user": "text"}, clustering={"n": "int"})]
    text = render(NODE, ENGINE, CONNECTION, propose(tables, every=tables), minimal=False)
    assert "# It needs: ALTER TABLE s.users WITH cdc = true;" in text
    assert "#   orders: {table: s.orders, on: {user: id}, exclude: [user]}" in text
    assert '# id: "{user}_{n}"' in text
    assert "# OpenSearch 2.19.5" in text
    assert "# s.orders: user text (partition key), n int (clustering), v text" in text


def test_before_4_0_the_folder_of_the_growing_segment_is_named_too(made: Made, tmp_path: Path) -> None:
    node = NodeReport(
        "Cassandra 3.11.13",
        "dc1",
        follows_log=True,
        cdc_enabled=None,
        cdc_raw_directory=None,
        moves_segments=True,
    )
    text = render(node, ENGINE, CONNECTION, propose([made("s", "users")], every=()), minimal=True)
    log = parse(text, file=tmp_path / "config.yaml", environment={}).commit_log
    assert (log.commitlog_directory, log.cdc_raw_directory) == (
        Path("/var/lib/cassandra/commitlog"),
        Path("/var/lib/cassandra/cdc_raw"),
    )


def test_the_commented_join_is_valid_when_it_is_taken(made: Made, tmp_path: Path) -> None:
    tables = [made("s", "users"), made("s", "orders", key={"user": "text"}, clustering={"n": "int"})]
    text = render(NODE, ENGINE, CONNECTION, propose(tables, every=tables), minimal=False)
    taken = text.replace("    # joins:", "    joins:").replace("    #   orders", "      orders")
    assert "orders" in parse(taken, file=tmp_path / "config.yaml", environment={}).mappings["users"].joins


def test_a_shorter_configuration_has_at_most_twelve_lines_for_one_table(made: Made) -> None:
    text = render(NODE, ENGINE, CONNECTION, propose([made("s", "users")], every=()), minimal=True)
    assert len(text.splitlines()) <= 12


def test_passwords_are_named_and_not_written(made: Made, tmp_path: Path) -> None:
    (tmp_path / "p").write_text("hidden", encoding="utf-8")
    login = Login("you", str(tmp_path / "p"), "X")
    connection = ServerAddresses(["a"], 9043, Login("me", None, "SECRET"), ["https://s:9200"], login, None, "state")
    text = render(NODE, ENGINE, connection, propose([made("s", "users")], every=()), minimal=False)
    settings = parse(text, file=tmp_path / "config.yaml", environment={"SECRET": "hidden"})
    assert "hidden" not in text
    for section in (settings.cassandra, settings.elasticsearch):
        assert section.password is not None
        assert section.password.get_secret_value() == "hidden"
    assert parse(connection.provisional(), file=tmp_path / "c", environment={"SECRET": "x"}).cassandra.port == 9043


@given(names=st.lists(st.from_regex(r"[A-Za-z0-9_]{1,20}", fullmatch=True), min_size=1, max_size=4, unique=True))
def test_any_names_of_tables_are_written_so_that_they_are_read_again(made: Any, names: list[str]) -> None:
    tables = [made("s", name, key={name: "text"}) for name in names]
    text = "mappings:\n" + "\n".join(render_mappings(propose(tables, every=tables), tail=True))
    read = YamlFile(text)
    assert read.mistakes == []
    assert [each["table"] for each in read.value["mappings"].values()] == [f"s.{name}" for name in names]


@given(column=st.text(min_size=1, max_size=8))
def test_any_name_of_a_column_leaves_the_configuration_valid(made: Any, column: str) -> None:
    table = made("s", "t", key={column: "text"}, clustering={f"{column}2": "int"})
    read = YamlFile("mappings:\n" + "\n".join(render_mappings(propose([table], every=[table]), tail=True)))
    assert read.mistakes == []
    assert list(read.value["mappings"]["t"]) == ["table", "alias"]


class TestAddMappings:
    LINES = ("  # new", "  orders:", "    table: s.orders", "    alias: orders")

    def test_they_stand_at_the_end(self) -> None:
        text = "# mine\nstate: {directory: d}\nmappings:\n  users: {table: s.users, alias: users}\n\n"
        added = add_mappings(text, self.LINES)
        assert added is not None
        assert added.startswith("# mine\nstate: {directory: d}\nmappings:\n  users: {table: s.users, alias: users}\n")
        assert list(YamlFile(added).value["mappings"]) == ["users", "orders"]

    @pytest.mark.parametrize(
        "text",
        [
            "mappings:\n  users: {table: s.users, alias: users}\nlog:\n  level: info\n",
            "mappings: {users: {table: s.users, alias: users}}\n",
            "mappings:\n    users: {table: s.users, alias: users}\n",
            "log:\n  level: info\n",
            "mappings:\n  orders: {table: s.o, alias: o}\n",
            "",
        ],
    )
    def test_a_file_of_another_form_is_left_alone(self, text: str) -> None:
        assert add_mappings(text, self.LINES) is None
