"""First copies: started once for each new index, resumed after a restart, never repeated."""

from __future__ import annotations

from pathlib import Path

from cdc_daemon.model.errors import Trouble
from cdc_daemon.store import Store
from cdc_daemon.store.first_copies import FirstCopy
from cdc_daemon.tablejobs.first_copy import FirstCopier
from cdc_daemon.tablejobs.range_job import JobRequest
from tests.unit.tablejobs.jobs import Counting, ended, running, until


async def test_a_wanted_copy_runs_once(tmp_path: Path) -> None:
    store = Store(tmp_path / "copies")
    store.first_copies.put("user", FirstCopy("waiting"))
    async with running(tmp_path, Counting(), lambda _type: None) as runner:
        copier = FirstCopier(store.first_copies, runner)
        await copier.check()
        (report,) = await runner.newest(10)
        assert (report.job.kind, report.job.origin) == ("backfill", "first_copy")
        assert list(report.job.options["types"]) == ["user"]
        assert copier.status() == [{"type": "user", "state": "running", "job": report.job.id}]
        await until(runner, report.job.id, ended)
        for _ in range(3):
            await copier.check()
        assert len(await runner.newest(10)) == 1
    store.close()
    again = Store(tmp_path / "copies")
    assert again.first_copies.all == {"user": FirstCopy("done", report.job.id)}
    again.close()


async def test_a_job_that_was_submitted_before_a_kill_is_not_submitted_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "copies")
    store.first_copies.put("user", FirstCopy("waiting"))
    async with running(tmp_path, Counting(), lambda _type: None) as runner:
        report = await runner.start(JobRequest(kind="backfill", types=("user",), origin="first_copy"))
        copier = FirstCopier(store.first_copies, _Open(runner, report))  # type: ignore[arg-type]
        await copier.check()
        assert len(await runner.newest(10)) == 1
        assert store.first_copies.all["user"].job == report.job.id
    store.close()


class _Open:
    """A runner whose submitted job is still open."""

    def __init__(self, runner: object, report: object) -> None:
        self._runner = runner
        self._report = report

    def __getattr__(self, name: str) -> object:
        return getattr(self._runner, name)

    async def newest(self, _limit: int) -> list[object]:
        return [self._report]


async def test_a_cancelled_copy_is_not_repeated_and_one_without_a_mapping_waits(tmp_path: Path) -> None:
    store = Store(tmp_path / "copies")
    store.first_copies.put("user", FirstCopy("waiting"))
    store.first_copies.put("removed", FirstCopy("waiting"))
    troubled = {"user"}
    async with running(tmp_path, Counting(), lambda name: _TROUBLE if name in troubled else None) as runner:
        copier = FirstCopier(store.first_copies, runner)
        await copier.check()
        job = store.first_copies.all["user"].job
        assert job is not None
        await runner.cancel(job)
        for _ in range(2):
            await copier.check()
        assert store.first_copies.all == {"user": FirstCopy("cancelled", job), "removed": FirstCopy("waiting")}
        assert len(await runner.newest(10)) == 1
    store.close()


_TROUBLE = Trouble("elasticsearch", "users takes no writes", "users")
