"""Polled tables of a test: their configuration, and the wait until they equal their documents."""

from __future__ import annotations

from typing import Any

from tests.integration.daemon.harness import wait_for
from tests.integration.daemon.stage import Stage


def poll(stage: Stage, table: str, **how: Any) -> dict[str, Any]:
    return {"table": f"{stage.keyspace}.{table}", "every": "500ms", "lag": "1s", "overlap": "2m", **how}


def wait_equal(stage: Stage, *tables: str) -> None:
    def differences() -> list[str]:
        return [table for table in tables if stage.rows(table) != stage.documents(table)]

    wait_for(f"equal tables among {tables}", lambda: not differences(), pause=0.2)
    stage.assert_equal(*tables)
