from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta, tzinfo
from typing import Self

import pytest
from apscheduler.events import EVENT_JOB_SUBMITTED
from structlog.testing import capture_logs

from cdc_daemon.app.schedule import Schedule
from cdc_daemon.model.errors import CassandraUnavailableError


@asynccontextmanager
async def running(schedule: Schedule) -> AsyncIterator[None]:
    task = asyncio.create_task(schedule.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 -- what is waited for has no event of its own
            await asyncio.sleep(0.005)


async def test_jobs_come_round_each_by_itself() -> None:
    turns: dict[str, int] = {"one": 0, "other": 0}
    schedule = Schedule()

    async def one() -> None:
        turns["one"] += 1

    async def other() -> None:
        turns["other"] += 1

    schedule.every(0.01, "one", one)
    schedule.every(0.02, "other", other)
    async with running(schedule):
        await until(lambda: min(turns.values()) >= 3)
        assert schedule.next_run("one") is not None
    assert schedule.jobs["one"].runs >= 3
    assert schedule.jobs["one"].succeeded >= schedule.jobs["one"].started > 0
    assert schedule.next_run("nothing") is None


async def test_a_job_is_never_run_beside_itself() -> None:
    at_once, most = 0, 0
    schedule = Schedule()
    let_go = asyncio.Event()

    async def slow() -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await let_go.wait()
        at_once -= 1

    schedule.every(0.01, "slow", slow)
    async with running(schedule):
        await until(lambda: schedule.jobs["slow"].passed_over >= 2)
        assert schedule.jobs["slow"].running
        let_go.set()
        await until(lambda: schedule.jobs["slow"].runs >= 3)
    assert most == 1


async def test_a_turn_that_fails_is_told_and_the_job_goes_on() -> None:
    schedule = Schedule()
    fail = True

    async def sometimes() -> None:
        if fail:
            raise CassandraUnavailableError("nobody answers", hint="is it up?")

    schedule.every(0.01, "sometimes", sometimes)
    with capture_logs() as logs:
        async with running(schedule):
            await until(lambda: schedule.jobs["sometimes"].failures >= 2)
            assert schedule.jobs["sometimes"].error is not None
            assert "nobody answers" in schedule.jobs["sometimes"].error
            fail = False
            await until(lambda: schedule.jobs["sometimes"].error is None)
    assert logs[0]["event"] == "schedule.job_failed"
    assert (logs[0]["job"], logs[0]["hint"]) == ("sometimes", "is it up?")


async def test_of_a_job_that_rests_no_turn_is_due_while_one_is_under_way() -> None:
    schedule = Schedule()
    let_go = asyncio.Event()

    async def lasting() -> None:
        await let_go.wait()

    schedule.every(0.01, "resting", lasting, rests=True)
    schedule.every(0.01, "wanted", lasting)
    async with running(schedule):
        await until(lambda: schedule.jobs["wanted"].passed_over > 2)
        assert schedule.jobs["resting"].running
        assert schedule.next_run("resting") is None
        let_go.set()
        await until(lambda: schedule.jobs["resting"].runs > 2)
    assert schedule.jobs["resting"].passed_over == 0


async def test_one_that_rests_may_be_cancelled_at_the_end() -> None:
    schedule = Schedule()

    async def lasting() -> None:
        await asyncio.Event().wait()

    schedule.every(60, "resting", lasting, rests=True)
    async with running(schedule):
        await until(lambda: schedule.jobs["resting"].running)
    assert not schedule.jobs["resting"].running
    assert schedule.jobs["resting"].failures == 0


async def test_the_end_cancels_a_turn_and_waits_for_it() -> None:
    schedule = Schedule()
    cleaned = False

    async def lasting() -> None:
        nonlocal cleaned
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            cleaned = True

    schedule.every(60, "lasting", lasting)
    async with running(schedule):
        await until(lambda: schedule.jobs["lasting"].running)
    assert cleaned
    assert not schedule.jobs["lasting"].running


async def test_a_job_can_be_brought_forward() -> None:
    schedule = Schedule()

    async def work() -> None:
        return

    schedule.every(3600, "rare", work, first=3600)
    with pytest.raises(KeyError):
        schedule.bring_forward("unknown")
    with pytest.raises(ValueError, match="own name"):
        schedule.every(1, "rare", work)
    async with running(schedule):
        assert schedule.jobs["rare"].runs == 0
        schedule.bring_forward("rare")
        await until(lambda: schedule.jobs["rare"].runs == 1)


async def test_a_clock_that_is_set_back_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    shift = timedelta(hours=3)

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            moment = datetime.now(tz) + shift
            return cls.fromtimestamp(moment.timestamp(), tz)

    monkeypatch.setattr("apscheduler.schedulers.base.datetime", Clock)
    monkeypatch.setattr("cdc_daemon.app.schedule.datetime", Clock)
    monkeypatch.setattr("cdc_daemon.app.schedule._CLOCK_CHECK_SECONDS", 0.01)
    schedule = Schedule()

    async def work() -> None:
        return

    schedule.every(0.01, "usual", work)
    schedule.every(0.01, "resting", work, rests=True)
    schedule.every(3600, "rare", work, first=3600)
    async with running(schedule):
        await until(lambda: schedule.jobs["usual"].runs > 1 and schedule.jobs["resting"].runs > 1)
        shift = timedelta()
        before = {job.name: job.runs for job in schedule.jobs.values()}
        await until(lambda: all(schedule.jobs[name].runs >= before[name] + 3 for name in ("usual", "resting")))
        await until(lambda: schedule.jobs["rare"].runs == 1)


async def test_a_cancellation_that_was_meant_for_another_is_a_failure_like_any() -> None:
    schedule = Schedule()
    shared = asyncio.get_running_loop().create_future()
    shared.cancel()

    async def work() -> None:
        await shared

    schedule.every(0.01, "sharing", work)
    with capture_logs() as logs:
        async with running(schedule):
            await until(lambda: schedule.jobs["sharing"].failures >= 2)
    assert schedule.jobs["sharing"].error == "CancelledError"
    assert logs[0]["event"] == "schedule.job_failed"


async def test_a_stop_during_a_turn_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    schedule = Schedule()
    begun, ended = asyncio.Event(), asyncio.Event()

    async def long() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    schedule.every(60, "long", long)
    with capture_logs() as logged:
        async with running(schedule):
            await begun.wait()
        assert ended.is_set(), "whoever stops the schedule waits for its turns"
        for _ in range(5):
            await asyncio.sleep(0)
    assert not logged
    assert not caplog.records
    assert (schedule.jobs["long"].failures, schedule.jobs["long"].error) == (0, None)


async def test_a_stop_before_a_turn_has_begun_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """The scheduler has made the turn's task, which has not run yet."""
    schedule = Schedule()
    submitted = asyncio.Event()

    async def work() -> None:
        await asyncio.Event().wait()

    def submit(_event: object) -> None:
        submitted.set()

    schedule.every(60, "work", work)
    schedule._scheduler.add_listener(submit, EVENT_JOB_SUBMITTED)
    task = asyncio.create_task(schedule.run())
    await submitted.wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    for _ in range(5):
        await asyncio.sleep(0)
    assert not caplog.records
