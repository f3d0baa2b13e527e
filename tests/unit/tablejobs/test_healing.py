"""Comparisons of the daemon's own while one type's alias takes no writes: those of the other types go on."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc_daemon.cassandra.ring import WHOLE_RING
from cdc_daemon.config.settings import AuditSettings
from cdc_daemon.model.errors import Trouble
from cdc_daemon.store import Store
from cdc_daemon.store.reconcile_requests import ReconcileReason, ReconcileRequest
from cdc_daemon.tablejobs.healing import Audit, Healing
from tests.unit.tablejobs.test_runner import TABLES, Counting, ended, running, until

TROUBLE = Trouble("elasticsearch", "users takes no writes", "users")


def lost(table: str) -> ReconcileRequest:
    return ReconcileRequest(reason=ReconcileReason.DAMAGE, segment_id=9, keyspace="k", table=table)


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdc_daemon.tablejobs.runner.STALLED_SECONDS", 0.01)


async def test_what_another_table_lost_is_healed(tmp_path: Path) -> None:
    store, troubles, work = Store(tmp_path / "requests"), {"user": TROUBLE}, Counting()
    requests = store.reconcile_requests
    async with running(tmp_path, work, troubles.get) as runner:
        types = {table: [name] for name, table in TABLES.items()}
        healing = Healing(requests, runner, types=types, ranges=lambda _: [WHOLE_RING])
        requests.add([lost("user")])
        await healing.check()
        (stalled,) = await runner.newest(10)
        await healing.check()
        assert len(await runner.newest(10)) == 1
        requests.add([lost("course")])
        await healing.check()
        (report, _) = await runner.newest(10)
        assert report.job.options["types"] == ["course"]
        await until(runner, report.job.id, ended)
        await healing.close_requests(work.finished[0])
        assert [request.table for request in requests.open()] == ["user"]
        await healing.check()
        assert len(await runner.newest(10)) == 2
        troubles.clear()
        assert (await until(runner, stalled.job.id, ended)).job.state == "done"
        await healing.close_requests(work.finished[1])
        assert requests.open() == []
    store.close()


async def test_audits_are_of_types_that_can_be_written(tmp_path: Path) -> None:
    troubles, work = {"user": TROUBLE}, Counting()
    async with running(tmp_path, work, troubles.get) as runner:
        audit = Audit(runner, AuditSettings(), {"k": ["user", "course"]}, ranges=lambda _: [WHOLE_RING])
        for number in (1, 2):
            await audit.begin()
            reports = await runner.newest(10)
            assert len(reports) == number
            assert reports[0].job.options["types"] == ["course"]
            await until(runner, reports[0].job.id, ended)
        troubles["course"] = TROUBLE
        await audit.begin()
        assert len(await runner.newest(10)) == 2
