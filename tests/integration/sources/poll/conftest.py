"""A daemon with `tail: off`: it ignores the node's segments and only polls."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cassandra.cluster import Session
from elasticsearch import Elasticsearch

from sandbox import Sandbox
from tests.integration.daemon.stage import Stage, new_stage


@pytest.fixture
def stage(box: Sandbox, cql: Session, elastic: Elasticsearch, tmp_path: Path) -> Iterator[Stage]:
    """Tables, indices and a daemon of this test alone, with `tail: off`."""
    with new_stage(box, cql, elastic, tmp_path) as stage:
        stage.daemon.config["tail"] = "off"
        del stage.daemon.config["commit_log"]
        yield stage
