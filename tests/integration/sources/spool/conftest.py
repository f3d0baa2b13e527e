"""Servers whose cdc_raw fills within seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.search_client import make_search_client
from tests.integration.daemon.stage import Stage, new_stage
from tests.integration.sources.spool.small import TOTAL_MIB
from tests.servers import make_sandbox


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
        make_sandbox(yaml=changes) as box,
        box.connect() as cql,
        make_search_client(box.elasticsearch.url, max_retries=3, retry_on_timeout=True) as elastic,
        new_stage(box, cql, elastic, tmp_path / "daemon") as stage,
    ):
        yield stage
