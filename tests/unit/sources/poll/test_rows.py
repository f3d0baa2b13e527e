"""The queries of a poller to a Cassandra that does not always answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from cassandra import OperationTimedOut
from cassandra.cluster import Session
from structlog.testing import capture_logs

from cdc_daemon.cassandra.read_plan import ReadPlan
from cdc_daemon.commitlog.table import Column, TableMetadata
from cdc_daemon.config.poll import PollSettings
from cdc_daemon.model.cql_types import parse_type
from cdc_daemon.sources.poll.rows import PAGE, PagedQueries, PolledColumns

KEY = Column("id", b"id", parse_type("int"), "partition_key")
CHANGED = Column("changed", b"changed", parse_type("bigint"), "regular")


class Answered:
    has_more_pages = False

    def __init__(self, answer: list[Any] | Exception) -> None:
        self._answer = answer

    def add_callbacks(self, deliver: Callable[[list[Any]], None], fail: Callable[[Exception], None]) -> None:
        if isinstance(self._answer, Exception):
            fail(self._answer)
        else:
            deliver(self._answer)


class Statement:
    fetch_size = 0


class Prepared:
    def bind(self, values: Sequence[Any]) -> Statement:
        assert list(values) == [5]
        return Statement()


class Impatient:
    """A session whose first query times out."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.queries: list[str] = []

    def execution_profile_clone_update(self, *_profile: Any, **_changes: Any) -> None:
        return None

    def prepare(self, query: str) -> Prepared:
        self.queries.append(query)
        return Prepared()

    def execute_async(self, statement: Statement, **_options: Any) -> Answered:
        self.sizes.append(statement.fetch_size)
        first = len(self.sizes) == 1
        return Answered(OperationTimedOut() if first else [(1, b"\0\0\0\1", 7, 9)])


async def test_a_page_that_is_not_answered_in_time_is_asked_for_again_smaller() -> None:
    settings = PollSettings.model_validate({"table": "shop.orders", "strategy": "index", "column": "changed"})
    plan = ReadPlan(TableMetadata(bytes(16), "shop", "orders", (KEY,), (), (), (CHANGED,)))
    session = Impatient()
    asking = PagedQueries(cast("Session", session), PolledColumns(plan, settings))
    with capture_logs():
        rows = [row async for page in asking.rows('"changed" >= ?', [5]) for row in page]
    assert [(row.key.partition_key, row.timestamp, row.write_time) for row in rows] == [(b"\0\0\0\1", 7999, 9)]
    assert session.sizes[0] == PAGE
    assert session.sizes[1] < PAGE
    assert session.queries == [
        'SELECT token("id"), intasblob("id"), "changed", WRITETIME("changed") FROM "shop"."orders" WHERE "changed" >= ?'
    ]
