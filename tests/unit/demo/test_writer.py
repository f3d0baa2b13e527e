from __future__ import annotations

import asyncio
import random
from typing import Any

from cassandra.query import BatchStatement, BatchType

from sandbox.demo.change import STATEMENTS, Change, Kind
from sandbox.demo.writer import Writer
from tests.unit.demo.fakes import FakeSession, wait_until


class _Session(FakeSession):
    """Notes how many rows it was given."""

    rows = 0

    def execute_async(self, statement: Any, values: Any = None) -> Any:
        self.rows += len(statement) if isinstance(statement, list) else 1
        return super().execute_async(statement, values)


class _Writer(Writer):
    """The driver takes only real prepared statements into a batch: a list stands for one."""

    def _statement(self, change: Change) -> tuple[Any, Any]:
        if len(change.rows) > 1:
            return list(change.rows), None
        return super()._statement(change)


async def _run(session: _Session, until: int, rate: int = 2000) -> Writer:
    writer = _Writer(session, rate=rate, source=random.Random(1))
    running = asyncio.create_task(writer.run())
    await wait_until(lambda: writer.total + writer.failed >= until)
    writer.stop()
    await running
    return writer


async def test_it_counts_the_rows_that_were_acknowledged() -> None:
    session = _Session()

    writer = await _run(session, 300)

    assert writer.total == session.rows >= 300
    assert set(writer.written) == set(Kind)
    assert writer.failed == 0
    assert writer.ended > writer.began


async def test_it_keeps_its_rate_and_no_more() -> None:
    session = _Session()
    writer = await _run(session, 200, rate=1000)

    largest_change = 5
    assert writer.total <= 1000 * (writer.ended - writer.began) + largest_change


async def test_writes_that_fail_are_counted_and_others_follow() -> None:
    session = _Session()
    session.fail = True

    writer = await _run(session, 50)

    assert writer.total == 0
    assert writer.failed == len(session.executed) >= 50


async def test_batches_go_as_batches() -> None:
    writer = Writer(FakeSession(), rate=1, source=random.Random(1))
    writer._prepared = dict.fromkeys(STATEMENTS, "SELECT")
    rows = ((STATEMENTS[0], ()), (STATEMENTS[1], ()))

    logged, _ = writer._statement(Change(Kind.LOGGED_BATCH, rows))
    unlogged, _ = writer._statement(Change(Kind.UNLOGGED_BATCH, rows))

    assert isinstance(logged, BatchStatement)
    assert logged.batch_type is BatchType.LOGGED
    assert unlogged.batch_type is BatchType.UNLOGGED
    assert len(logged) == len(unlogged) == 2
