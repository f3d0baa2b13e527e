"""Real servers for the tests in this folder: one Cassandra 5.0 and one Elasticsearch for the whole session."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from cassandra.cluster import Session
from elasticsearch import Elasticsearch

from sandbox import FAST_START, Sandbox

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session")
def box() -> Iterator[Sandbox]:
    """The shared servers. A test that kills, pauses or reconfigures a server starts a Sandbox of its own."""
    with Sandbox(java_options=FAST_START) as running:
        yield running


@pytest.fixture(scope="session")
def cql(box: Sandbox) -> Iterator[Session]:
    """A driver session on the shared Cassandra, for making schemas and writing rows."""
    with box.connect() as session:
        yield session


@pytest.fixture
def keyspace(cql: Session) -> Iterator[str]:
    """The name of an empty keyspace that only this test uses."""
    name = f"test_{secrets.token_hex(6)}"
    cql.execute(f"CREATE KEYSPACE {name} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}")
    yield name
    cql.execute(f"DROP KEYSPACE {name}")


@pytest.fixture
def index_prefix(box: Sandbox) -> Iterator[str]:
    """A prefix that only this test's indices and aliases have; what begins with it is deleted afterwards."""
    prefix = f"test-{secrets.token_hex(6)}-"
    yield prefix
    with Elasticsearch(box.elasticsearch.url) as client:
        if found := list(client.indices.get(index=f"{prefix}*", expand_wildcards="all")):
            client.indices.delete(index=found)
