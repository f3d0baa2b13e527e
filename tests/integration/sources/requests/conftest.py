"""A running daemon that answers requests for rows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cassandra.cluster import Session
from elasticsearch import Elasticsearch

from sandbox import Sandbox
from tests.integration.daemon.stage import Stage, new_stage
from tests.integration.sources.requests.asking import with_token


@pytest.fixture(scope="module")
def stage(
    box: Sandbox, cql: Session, elastic: Elasticsearch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """Tables of this module, one of them without CDC, and a running daemon."""
    with new_stage(box, cql, elastic, tmp_path_factory.mktemp("sync")) as stage:
        stage.table("person", "id text PRIMARY KEY, name text, n int")
        stage.table("device", "id uuid PRIMARY KEY, name text")
        stage.table(
            "course", "courseid text, batchid text, name text, title text static, PRIMARY KEY (courseid, batchid)"
        )
        stage.create("unseen", "id text PRIMARY KEY, name text", cdc=False)
        stage.map("unseen")
        stage.table(
            "strict",
            "id text PRIMARY KEY, day text",
            mappings={"properties": {"id": {"type": "keyword"}, "day": {"type": "date"}}},
        )
        stage.daemon.config["http"] = with_token()
        stage.daemon.run()
        yield stage
