"""A runner of jobs whose work is counted, for the tests of the runner and of healing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from cdc_daemon.cassandra.ring import TokenRange, split
from cdc_daemon.model.errors import Trouble
from cdc_daemon.model.signal import TableName
from cdc_daemon.store import Store
from cdc_daemon.store.range_jobs import JobRange
from cdc_daemon.tablejobs.range_job import JobRun
from cdc_daemon.tablejobs.runner import RangeJobReport, RangeJobRunner

TABLES = {"user": TableName("k", "user"), "course": TableName("k", "course")}


class Halves:
    async def pieces(self, table: TableName, wanted: Sequence[TokenRange]) -> Sequence[TokenRange]:
        assert table.keyspace == "k"
        return [piece for each in wanted for piece in split(each, 2)]


class Counting:
    """Settles each range as seven rows, after what a test makes of it."""

    def __init__(self) -> None:
        self.worked: list[JobRange] = []
        self.finished: list[JobRun] = []
        self.hold = asyncio.Event()
        self.hold.set()
        self.failures: list[Exception] = []

    async def work(self, run: JobRun, part: JobRange) -> None:
        await self.hold.wait()
        if self.failures:
            raise self.failures.pop()
        self.worked.append(part)
        await run.move(part, part.last, 7, done=True)

    async def finish(self, run: JobRun) -> None:
        self.finished.append(run)


@asynccontextmanager
async def running(
    directory: Path, work: Counting, trouble: Callable[[str], Trouble | None] = lambda _type: None
) -> AsyncIterator[RangeJobRunner]:
    store = Store(directory)
    runner = RangeJobRunner(store.range_jobs, Halves(), {"backfill": work, "reconcile": work}, TABLES, trouble=trouble)
    task = asyncio.create_task(runner.run())
    try:
        yield runner
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        store.close()


async def until(runner: RangeJobRunner, identity: str, look: Callable[[RangeJobReport], bool]) -> RangeJobReport:
    async with asyncio.timeout(20):
        while True:
            report = await runner.report(identity)
            assert report is not None
            if look(report):
                return report
            await asyncio.sleep(0.01)


def ended(report: RangeJobReport) -> bool:
    return not report.job.open
