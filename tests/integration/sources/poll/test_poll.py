"""Polling alone keeps tables and indices equal: each strategy and column type, on real servers."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from cassandra.concurrent import execute_concurrent_with_args
from cassandra.util import Date, uuid_from_time

from tests.integration.daemon.harness import wait_for
from tests.integration.daemon.stage import Stage
from tests.integration.sources.poll.polled import poll, wait_equal

Moment = Callable[[datetime], Any]
SUNBIRD = "yyyy-MM-dd HH:mm:ss:SSSZ"
IN_NANOSECONDS = 1_790_000_000_000_000_000
"""A moment as somebody writes it who takes a timestamp's milliseconds for nanoseconds."""
INDIA = timezone(timedelta(hours=5, minutes=30))


def sunbird(moment: datetime) -> str:
    local = moment.astimezone(INDIA)
    return f"{local:%Y-%m-%d %H:%M:%S}:{local.microsecond // 1000:03}{local:%z}"


def micros(moment: datetime) -> int:
    return round(moment.timestamp() * 1e6)


COLUMNS: dict[str, tuple[str, Moment, dict[str, Any]]] = {
    "scan_text": ("text", sunbird, {"strategy": "scan", "format": SUNBIRD}),
    "scan_local_text": (
        "text",
        lambda moment: f"{moment.astimezone(INDIA):%d.%m.%Y %H:%M:%S}",
        {"strategy": "scan", "format": "dd.MM.yyyy HH:mm:ss", "zone": "Asia/Kolkata"},
    ),
    "scan_bigint_us": ("bigint", micros, {"strategy": "scan", "unit": "us"}),
    "index_timestamp": ("timestamp", lambda moment: moment, {"strategy": "index"}),
    "index_timeuuid": ("timeuuid", uuid_from_time, {"strategy": "index"}),
    "index_bigint": ("bigint", lambda moment: micros(moment) // 1000, {"strategy": "index", "unit": "ms"}),
    "index_int": ("int", lambda moment: micros(moment) // 1_000_000, {"strategy": "index", "unit": "s"}),
    "index_date": ("date", lambda moment: Date(moment.date()), {"strategy": "index"}),
}
"""By table the column's type, its value for a moment, and how it is polled."""


def test_every_type_of_column_keeps_its_table_equal(stage: Stage) -> None:
    for table, (cql_type, _, _) in COLUMNS.items():
        stage.create(table, f"id int PRIMARY KEY, changed {cql_type}, name text", cdc=False)
        stage.map(table)
        if table == "index_date":
            stage.execute(f"CREATE INDEX ON {{ks}}.{table} (changed)")
        elif table.startswith("index"):
            stage.execute(f"CREATE INDEX ON {{ks}}.{table} (changed) USING 'sai'")
    stage.create("by_write_time", "a text, b int, n int, PRIMARY KEY (a, b)", cdc=False)
    stage.map("by_write_time")
    stage.daemon.config["poll"] = [
        *(poll(stage, table, column="changed", **how) for table, (_, _, how) in COLUMNS.items()),
        poll(stage, "by_write_time", strategy="scan"),
    ]

    def write(identity: int, name: str, moment: datetime) -> None:
        for table, (_, value, _) in COLUMNS.items():
            stage.execute(
                f"INSERT INTO {{ks}}.{table} (id, changed, name) VALUES (%s, %s, %s)", [identity, value(moment), name]
            )
        stage.execute("INSERT INTO {ks}.by_write_time (a, b, n) VALUES (%s, %s, %s)", [name, identity, identity])

    now = datetime.now(UTC)
    write(1, "long ago", now - timedelta(days=400))
    write(2, "just now", now)
    for table in COLUMNS:
        stage.execute(f"INSERT INTO {{ks}}.{table} (id, name) VALUES (3, 'no moment')")
    stage.daemon.run()
    tables = [*COLUMNS, "by_write_time"]
    wait_equal(stage, *tables)

    write(1, "changed", datetime.now(UTC))
    write(4, "late", datetime.now(UTC) - timedelta(seconds=60))
    write(5, "from a clock ahead", datetime.now(UTC) + timedelta(hours=1))
    for table in (table for table in COLUMNS if table.startswith("scan")):
        stage.execute(f"INSERT INTO {{ks}}.{table} (id, name) VALUES (9, 'without a moment')")
    wait_equal(stage, *tables)

    stage.daemon.kill()
    write(6, "while away", datetime.now(UTC))
    stage.daemon.run()
    wait_equal(stage, *tables)

    # A moment beyond the years that the driver knows holds up no row that comes after it.
    stage.execute(f"INSERT INTO {{ks}}.index_timestamp (id, changed) VALUES (7, {IN_NANOSECONDS})")
    stage.execute("INSERT INTO {ks}.index_timestamp (id, changed) VALUES (8, toTimestamp(now()))")
    wait_for("the row after it", lambda: stage.get("index_timestamp", "8"))
    turns = {job["name"]: job for job in stage.daemon.status()["schedule"]}
    assert {f"poll {stage.keyspace}.{table}" for table in tables} <= set(turns)
    assert all(job["error"] is None for job in turns.values())
    assert time.time() - stage.daemon.metric("poll_watermark_timestamp_seconds", table="index_date") < 60
    assert stage.daemon.stop() == 0


def test_buckets_of_time(stage: Stage) -> None:
    """The clustering is the moment in one table; in the other the moment is a column like any other."""
    stage.create(
        "events",
        "day date, shard int, at timestamp, id uuid, what text, PRIMARY KEY ((day, shard), at, id)",
        options="CLUSTERING ORDER BY (at DESC, id ASC)",
        cdc=False,
    )
    stage.create("hours", "hour bigint, id int, changed text, PRIMARY KEY (hour, id)", cdc=False)
    stage.map("events")
    stage.map("hours")
    stage.daemon.config["poll"] = [
        poll(stage, "events", strategy="bucket", column="at", bucket={"column": "day", "others": {"shard": [0, 1]}}),
        poll(
            stage,
            "hours",
            strategy="bucket",
            column="changed",
            format=SUNBIRD,
            bucket={"column": "hour", "width": "1h"},
        ),
    ]

    def write(identity: int, moment: datetime) -> None:
        stage.execute(
            "INSERT INTO {ks}.events (day, shard, at, id, what) VALUES (%s, %s, %s, %s, %s)",
            [Date(moment.date()), identity % 2, moment, uuid.uuid4(), str(identity)],
        )
        stage.execute(
            "INSERT INTO {ks}.hours (hour, id, changed) VALUES (%s, %s, %s)",
            [micros(moment) // 3_600_000_000, identity, sunbird(moment)],
        )

    for days in (0, 1, 30):
        write(days, datetime.now(UTC) - timedelta(days=days))
    stage.daemon.run()
    wait_equal(stage, "events", "hours")
    for identity in range(100, 120):
        write(identity, datetime.now(UTC) - timedelta(seconds=identity - 100))
    wait_equal(stage, "events", "hours")

    day = datetime.now(UTC).date()
    stage.execute(f"INSERT INTO {{ks}}.events (day, shard, at, id) VALUES ('{day}', 0, {IN_NANOSECONDS}, uuid())")
    write(200, datetime.now(UTC))
    wait_for("the row after it", lambda: any(row["what"] == "200" for row in stage.documents("events").values()))


def test_tables_are_altered_and_dropped_while_they_are_polled(stage: Stage) -> None:
    """One that is gone holds up no other, a restart neither, and is polled again when it is there again."""

    def create_gone() -> None:
        stage.create("gone", "id int PRIMARY KEY, a text", cdc=False)
        stage.execute("INSERT INTO {ks}.gone (id, a) VALUES (1, 'a')")

    create_gone()
    stage.create("altered", "id int PRIMARY KEY, a text, b text", cdc=False)
    stage.execute("INSERT INTO {ks}.altered (id, a, b) VALUES (1, 'a', 'b')")
    tables = ("altered", "gone")
    for table in tables:
        stage.map(table, on_drop="remove")
    stage.daemon.config["poll"] = [poll(stage, table, strategy="scan") for table in reversed(tables)]
    stage.daemon.run()
    wait_equal(stage, *tables)
    stage.execute("ALTER TABLE {ks}.altered DROP b")
    stage.execute("DROP TABLE {ks}.gone")
    stage.execute("INSERT INTO {ks}.altered (id, a) VALUES (2, 'a')")
    wait_for("a row after the column was dropped", lambda: stage.get("altered", "2"))
    wait_for("the dropped table's documents to go", lambda: not stage.documents("gone"))

    stage.daemon.kill()
    stage.execute("INSERT INTO {ks}.altered (id, a) VALUES (3, 'a')")
    stage.daemon.run()
    wait_for("a row after the restart", lambda: stage.get("altered", "3"))
    assert "poll.table_missing" in stage.daemon.log_text()
    create_gone()
    wait_for("a row of the table that is there again", lambda: stage.get("gone", "1"))


def test_a_flood_of_one_moment_is_seen_whole_and_settled_once(stage: Stage) -> None:
    """More rows than a page has share one moment; none is lost at the border, and none is written again."""
    rows = 1500
    how: dict[str, dict[str, Any]] = {
        "flood_index": {"strategy": "index", "column": "changed"},
        "flood_scan": {"strategy": "scan", "column": "changed"},
        "flood_bucket": {"strategy": "bucket", "column": "changed", "bucket": {"column": "day"}},
    }
    for table in how:
        key = "(day), changed, id" if table == "flood_bucket" else "id"
        stage.create(table, f"id int, day date, changed timestamp, PRIMARY KEY ({key})", cdc=False)
        stage.map(table)
    stage.execute("CREATE INDEX ON {ks}.flood_index (changed) USING 'sai'")
    stage.daemon.config["poll"] = [poll(stage, table, start="now", lag="0s", **each) for table, each in how.items()]
    stage.daemon.run()
    moment = datetime.now(UTC)
    for table in how:
        insert = stage.cql.prepare(f"INSERT INTO {stage.keyspace}.{table} (id, day, changed) VALUES (?, ?, ?)")
        values = [(number, Date(moment.date()), moment) for number in range(rows)]
        execute_concurrent_with_args(stage.cql, insert, values, concurrency=50)
    wait_equal(stage, *how)
    for table in how:
        of_table = {"table": table}
        seen = stage.daemon.metric("poll_rows_total", outcome="known", **of_table)
        wait_for(
            "two more turns",
            lambda: stage.daemon.metric("poll_rows_total", outcome="known", **of_table) >= seen + 2 * rows,  # noqa: B023
            pause=0.2,
        )
        assert stage.daemon.metric("poll_rows_total", outcome="submitted", **of_table) == rows
    stage.daemon.stop()

    # Somebody who knows nothing of all that finds every document read after its row's change.
    shutil.rmtree(stage.daemon.state)
    stage.daemon.config["poll"] = [
        poll(stage, table, **{**each, "lag": "0s", "overlap": "0s", "every": "1h"}) for table, each in how.items()
    ]
    stage.daemon.run()
    wait_for("every row looked at", lambda: stage.daemon.metric("poll_rows_total") == rows * len(how))
    assert stage.daemon.metric("poll_rows_total", outcome="fresh") == rows * len(how)


def test_a_local_time_that_was_twice_is_taken_for_the_later_one(stage: Stage) -> None:
    """A row of the hour that the clocks went back is not missed, though its text tells the hour before as well."""
    zone = ZoneInfo("Europe/Berlin")
    now = datetime.now(UTC)
    hours = (now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=hour) for hour in range(1, 9000))
    back = next(
        each for each in hours if (each - timedelta(hours=1)).astimezone(zone).hour == each.astimezone(zone).hour
    )
    stage.create("local", "id int PRIMARY KEY, changed text", cdc=False)
    stage.map("local")
    overlap = f"{int((now - back).total_seconds()) - 600}s"
    how = {"format": "yyyy-MM-dd HH:mm:ss", "zone": "Europe/Berlin", "start": "now", "overlap": overlap}
    stage.daemon.config["poll"] = [poll(stage, "local", strategy="scan", column="changed", **how)]
    stage.daemon.run()
    wait_for("the first turn", lambda: stage.daemon.metric("poll_watermark_timestamp_seconds", table="local"))
    for identity, minutes in enumerate((30, 45, 59, 61, 90)):
        text = f"{(back + timedelta(minutes=minutes)).astimezone(zone):%Y-%m-%d %H:%M:%S}"
        stage.execute("INSERT INTO {ks}.local (id, changed) VALUES (%s, %s) USING TIMESTAMP 1", [identity, text])
    wait_equal(stage, "local")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"strategy": "index", "column": "changd"}, "did you mean 'changed'"),
        ({"strategy": "index", "column": "number"}, "found none"),
        ({"strategy": "scan", "column": "flag"}, "found flag of type boolean"),
        ({"strategy": "scan", "column": "name"}, "expected a format"),
        ({"strategy": "bucket", "column": "changed", "bucket": {"column": "name"}}, "name the partition key"),
    ],
)
def test_what_cannot_be_polled_is_said_at_the_start(stage: Stage, how: dict[str, Any], said: str) -> None:
    stage.create("orders", "id int PRIMARY KEY, changed timestamp, name text, number bigint, flag boolean", cdc=False)
    stage.execute("CREATE INDEX ON {ks}.orders (changed)")
    stage.map("orders")
    stage.daemon.config["poll"] = [poll(stage, "orders", **how)]
    stage.daemon.start()
    assert stage.daemon.wait_exit() == 2
    assert said in stage.daemon.log_text().replace("\\u2019", "'").replace('\\"', '"')
