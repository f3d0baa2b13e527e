"""The row source is rebuilt when the table has changed, and only then."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest

from cdc_daemon.cassandra.read_plan import ReadPlan
from cdc_daemon.cassandra.ring import TokenRange
from cdc_daemon.commitlog.table import Column, TableMetadata
from cdc_daemon.model.cql_types import parse_type
from cdc_daemon.model.errors import CassandraRefusedError
from cdc_daemon.model.signal import Key, TableName
from cdc_daemon.sources.poll.factory import CurrentTableRows
from cdc_daemon.sources.poll.rows import PolledRow


def table_of(*regular: str) -> ReadPlan:
    key = (Column("id", b"id", parse_type("int"), "partition_key"),)
    columns = tuple(Column(name, name.encode(), parse_type("text"), "regular") for name in regular)
    return ReadPlan(TableMetadata(bytes(16), "shop", "orders", key, (), (), columns))


class Columns:
    """Returns the columns of the table that it was built for as keys of rows."""

    def __init__(self, plan: ReadPlan) -> None:
        self._plan = plan

    async def pages(self, since: int, ranges: Sequence[TokenRange] | None = None) -> AsyncIterator[Sequence[PolledRow]]:
        assert ranges is None
        yield [
            PolledRow(Key(TableName("shop", "orders"), name.encode(), ()), since, None) for name in self._plan.columns
        ]


async def test_the_table_is_asked_as_it_is_now() -> None:
    made: list[ReadPlan] = []
    now: ReadPlan | None = table_of("name", "colour")

    def plan() -> ReadPlan:
        if now is None:
            raise CassandraRefusedError("there is no such table")
        return now

    async def make(plan: ReadPlan) -> Columns:
        made.append(plan)
        return Columns(plan)

    async def names() -> list[bytes]:
        return [row.key.partition_key async for page in rows.pages(0) for row in page]

    rows = CurrentTableRows(plan, make)
    assert await names() == await names() == [b"id", b"name", b"colour"]
    assert len(made) == 1
    now = None
    with pytest.raises(CassandraRefusedError):
        await names()
    now = table_of("name")
    assert await names() == [b"id", b"name"]
    assert len(made) == 2
