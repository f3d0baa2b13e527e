"""A Cassandra for these tests only: nothing else may delete its segments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cassandra.cluster import Session
from typer.testing import CliRunner, Result

from cdc_daemon.cli.main import app
from sandbox import FAST_START, Sandbox

REPLICATION = "{'class': 'SimpleStrategy', 'replication_factor': 1}"


@dataclass(frozen=True)
class Node:
    """The server, a session on it, and a configuration file that names both and a state directory."""

    box: Sandbox
    session: Session
    config: Path
    state: Path

    @property
    def cdc_raw(self) -> Path:
        return self.box.cassandra.cdc_raw_directory

    def run(self, *arguments: object) -> Result:
        """Run `cdc-daemon` in this process."""
        return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture(scope="session")
def lone_box() -> Iterator[Sandbox]:
    with Sandbox(elasticsearch=False, java_options=FAST_START) as running:
        yield running


@pytest.fixture
def node(lone_box: Sandbox, tmp_path: Path) -> Iterator[Node]:
    config = tmp_path / "config.yaml"
    state = tmp_path / "state"
    config.write_text(
        f"""
cassandra: {{contact_points: [{lone_box.cassandra.host}], port: {lone_box.cassandra.port}}}
commit_log: {{cdc_raw_directory: {lone_box.cassandra.cdc_raw_directory}}}
state: {{directory: {state}}}
mappings: {{any: {{table: shop.users, alias: users}}}}
"""
    )
    with lone_box.connect() as session:
        yield Node(lone_box, session, config, state)


@pytest.fixture
def keyspace(node: Node, request: pytest.FixtureRequest) -> Iterator[Callable[[str], str]]:
    """Makes keyspaces, and drops what is left of them."""
    made = []

    def make(name: str) -> str:
        node.session.execute(f"CREATE KEYSPACE {name} WITH replication = {REPLICATION}")
        made.append(name)
        return name

    yield make
    for name in made:
        node.session.execute(f"DROP KEYSPACE IF EXISTS {name}")
