"""What a daemon tells in an hour of work, in an outage, and when names and values are as long and as odd as can be."""

from __future__ import annotations

import math
import time
from typing import Any, NamedTuple

from cdc_daemon.config import MappingSettings
from cdc_daemon.model.signal import TableName
from cdc_daemon.store.dead_letters import DeadLetter
from cdc_daemon.telemetry.metrics import Metrics
from cdc_daemon.telemetry.status_summary import StatusSummary

HOUR = 3600
STEP = 10
OVERRIDE = "\u202e"
"""Turns the order of the letters behind it around where it is shown as it is."""

PLAIN = {"user": "user", "batch": "course_batch", "user_course": "user_enrolments", "location": "location"}
ODD = {
    "w" * 48: "w" * 48,
    "a_mapping_with_quite_a_long_name_of_many_words": "a_table_with_quite_a_long_name_of_many_words",
    f"evil{OVERRIDE}txt": "course_batch",
}
TIMERS = ("dependents", "truncated tables", "expired values", "dead letters", "heartbeat", "audit", "heal")


class Scene(NamedTuple):
    """What `/status` and `/events` tell."""

    status: dict[str, Any]
    trend: dict[str, Any]


def work(names: dict[str, str] = PLAIN, *, outage: float = 0.0, paused_by: str | None = None, odd: str = "") -> Scene:
    """Return what is told after an hour, of which Elasticsearch was unavailable in the last `outage` seconds.

    `odd` is put into each text that comes from servers.
    """
    mappings = {name: MappingSettings(table=TableName("sunbird", table), alias=table) for name, table in names.items()}
    metrics = Metrics()
    overview = StatusSummary(metrics, mappings, share=1.0)
    metrics.cdc_raw_limit_bytes.set(4 << 30)
    overview.count(dead_letters=240, open_jobs=1, newest_job=time.time())
    end = time.time()
    state: dict[str, Any] = {}
    for second in range(0, HOUR, STEP):
        now, left = end - HOUR + second, HOUR - second
        is_away = left <= outage or 1500 < left < 1560
        state = _state(mappings, second, now, is_away=is_away, waited=outage - left if left <= outage else 0, odd=odd)
        state |= {"paused": paused_by is not None, "paused_by": paused_by, "paused_since": paused_by and end - 300}
        if not is_away:
            _write(metrics, mappings, now, lag=0.15 + 0.1 * math.sin(second / 400) ** 2)
        metrics.cdc_raw_bytes.set((40 << 20) + (4 << 20) * (state["pending"] // 60))
        overview.measure(now, state)
    return Scene({**state, **overview.show()}, dict(overview.trend()))


def _state(
    mappings: dict[str, MappingSettings], second: int, now: float, *, is_away: bool, waited: float, odd: str
) -> dict[str, Any]:
    pending = int(60 * waited) if is_away else int(40 + 30 * math.sin(second / 90))
    return {
        "version": "0.1.0",
        "node": f"cassandra-0{odd}",
        "started": now - 2 * HOUR,
        "state": "running",
        "tables": [str(mapping.table) for mapping in mappings.values()],
        "tail": True,
        "position": "1795483702888:3354159",
        "pending": pending,
        "spooled": 0,
        "held": [],
        "backlog": {"bytes": 800 * pending, "segments": 1 if pending else 0},
        "reconcile_requests": {},
        "cassandra": {"available": True, "nodes": 3, "nodes_up": 3},
        "elasticsearch": {
            "available": not is_away,
            "failure": f"connection_error{odd}" if is_away else None,
            "engine": "OpenSearch",
            "version": "2.19.5",
        },
        "indices": [_index(mapping.alias, number) for number, mapping in enumerate(mappings.values())],
        "jobs": [],
        "schedule": [_timer(name, now) for name in (*TIMERS, f"poll sunbird.{'t' * 40 if odd else 'device'}")],
    }


def _index(alias: str, number: int) -> dict[str, Any]:
    phase = (None, "kept", "building", None)[number % 4]
    other = None if phase is None else f"{alias}-000002"
    return {
        "alias": alias,
        "live": f"{alias}-000001",
        "other": other,
        "phase": phase,
        "written": phase is not None,
        "behind": phase == "kept",
    }


def _timer(name: str, now: float) -> dict[str, Any]:
    return {
        "name": name,
        "interval": 30.0,
        "running": False,
        "started": now - 10,
        "ended": now - 9,
        "succeeded": now - 9,
        "runs": 240,
        "failures": 0,
        "passed_over": 0,
        "error": None,
        "next": now + 20,
    }


def _write(metrics: Metrics, mappings: dict[str, MappingSettings], now: float, *, lag: float) -> None:
    for mapping in mappings.values():
        metrics.documents.labels(mapping.alias, "indexed").inc(1234)
        metrics.documents.labels(mapping.alias, "deleted").inc(17)
        for part in range(20):
            metrics.replication_lag_seconds.labels(*mapping.table).observe(lag * (1 + part / 10))
        metrics.last_acknowledged_write_timestamp_seconds.labels(*mapping.table).set(now - lag)
    metrics.documents.labels(next(iter(mappings.values())).alias, "dead_lettered").inc(int(now) % 2)


def letters(count: int, *, odd: str = "") -> list[DeadLetter]:
    """Return letters, newest first, of two tables and for two reasons."""
    return [
        DeadLetter(
            id=number,
            at=int((time.time() - 60 * (count - number)) * 1e6),
            kind="document",
            reason="document_parsing_exception" if number % 3 else "ExpressionError",
            detail={"message": f"failed to parse field [dob] of type [date]{odd}", "key": {"id": f"u{number}{odd}"}},
            keyspace="sunbird",
            table="user" if number % 2 else "course_batch",
            partition_key=str(number).encode(),
            clustering=(),
            payload=f'{{"id": "u{number}", "dob": "yesterday{odd}"}}'.encode(),
            alias="user",
        )
        for number in range(count, 0, -1)
    ]
