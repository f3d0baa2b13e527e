"""What tests on real servers make in them for themselves."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from cassandra.cluster import Session
from elasticsearch import Elasticsearch

from sandbox import Sandbox
from sandbox.search_client import make_search_client

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session")
def elastic(box: Sandbox) -> Iterator[Elasticsearch]:
    """A client of the shared Elasticsearch."""
    with make_search_client(box.elasticsearch.url, max_retries=3, retry_on_timeout=True) as client:
        yield client


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
    with make_search_client(box.elasticsearch.url) as client:
        if found := list(client.indices.get(index=f"{prefix}*", expand_wildcards="all")):
            client.indices.delete(index=found)
