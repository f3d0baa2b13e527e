"""Servers whose cdc_raw fills within seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch

from sandbox import FAST_START, Sandbox
from tests.integration.daemon.stage import Stage, new_stage
from tests.integration.sources.spool.small import TOTAL_MIB


@pytest.fixture
def small_stage(tmp_path: Path) -> Iterator[Stage]:
    """Servers for these tests only, with a cdc_raw limit of 24 MiB in segments of 1 MiB."""
    changes = {
        "commitlog_segment_size": "1MiB",
        "cdc_total_space": f"{TOTAL_MIB}MiB",
        "commitlog_sync_period": "200ms",
        "periodic_commitlog_sync_lag_block": "10s",
    }
    with (
        Sandbox(yaml=changes, java_options=FAST_START) as box,
        box.connect() as cql,
        Elasticsearch(box.elasticsearch.url, request_timeout=60, max_retries=3, retry_on_timeout=True) as elastic,
        new_stage(box, cql, elastic, tmp_path / "daemon") as stage,
    ):
        yield stage
