"""The table that is measured: 16 columns, with a set and a map; documents of about 750 bytes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from cassandra.cluster import Session

KEYSPACE = "bench"
TABLE = f"{KEYSPACE}.person"
ALIAS = "bench-person"
INDEX_SETTINGS = {"number_of_shards": 1, "number_of_replicas": 0, "refresh_interval": "30s"}

COLUMNS = {
    "id": "text PRIMARY KEY",
    "run": "int",
    "channel": "text",
    "createdby": "text",
    "createddate": "timestamp",
    "email": "text",
    "firstname": "text",
    "lastname": "text",
    "flagsvalue": "int",
    "isdeleted": "boolean",
    "profiledetails": "text",
    "rootorgid": "text",
    "updateddate": "text",
    "username": "text",
    "roles": "set<text>",
    "framework": "map<text, text>",
}

INSERT = f"INSERT INTO {TABLE} ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608 -- constants

_TIMES = [f"{'MAX' if '<' in kind else ''}WRITETIME({name})" for name, kind in COLUMNS.items() if name != "id"]

READ = f"SELECT {', '.join([*COLUMNS, *_TIMES])} FROM {TABLE} WHERE id IN ?"  # noqa: S608 -- constants
"""The query of the bare script: the same values and write times that the daemon reads."""

_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def create_table(session: Session, *, replicas: int = 1) -> None:
    """Create the keyspace and the table."""
    replication = f"{{'class': 'SimpleStrategy', 'replication_factor': {replicas}}}"
    session.execute(f"CREATE KEYSPACE {KEYSPACE} WITH replication = {replication}")
    columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    session.execute(f"CREATE TABLE {TABLE} ({columns}) WITH cdc = true")


def identity(number: int) -> str:
    """Return the key of a row."""
    return f"5a587cc1-e018-4859-a0a8-{number:012}"


def row(number: int, run: int) -> tuple[Any, ...]:
    """Return the values of a row in a run."""
    name = f"{number:08}"
    details = f'{{"profile":"{name * 12}","framework":{{"board":["{name}"]}}}}'
    return (
        *(identity(number), run, "dikshacustodian", f"creator-{name}", _BEGIN + timedelta(seconds=number % 10**6)),
        *(f"{name * 4}@yopmail.com", f"First {name}", f"Last {name}", number % 8, number % 7 == 0, details),
        *("0126796199493140480", "2026-02-03 04:05:06:789+0000", f"user_{name}"),
        *({"PUBLIC", f"ROLE_{number % 5}"}, {"board": f"board {number % 9}", "medium": "english"}),
    )
