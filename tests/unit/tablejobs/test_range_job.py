"""What a job finds counts once, whatever happens to the process."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.store import Store
from cdc_daemon.store.range_jobs import ROWS, RangeJob
from cdc_daemon.tablejobs.findings import LONGEST_LIST, Mismatch, MismatchCounts, MismatchKind, add_reports
from cdc_daemon.tablejobs.range_job import JobRequest, JobRun

REPORTS = st.dictionaries(st.sampled_from("abc"), st.integers(0, 9), max_size=3)


def missing(name: str) -> Mismatch:
    return Mismatch(MismatchKind.MISSING, name, None)


def opened(store: Store) -> JobRun:
    job = store.range_jobs.get("job")
    assert job is not None
    return JobRun(
        job, JobRequest(kind="reconcile", types=("user",)), store.range_jobs, store.range_jobs.progress("job")
    )


async def test_what_is_done_again_after_a_crash_counts_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    halves = [("user", 0, 100, ROWS), ("user", 100, 200, ROWS)]
    store.range_jobs.add(RangeJob(id="job", kind="reconcile"), halves, limit=1)
    run = opened(store)
    assert not run.resumed
    one, other = store.range_jobs.open_ranges("job")
    first, second = MismatchCounts("user"), MismatchCounts("user")
    first.add_mismatches([missing("a")])
    await run.move(one, 50, 5, found=first)
    first.add_mismatches([missing("b")])
    await run.move(one, 60, 6, found=first)  # too soon to be kept
    second.add_mismatches([missing("c")])
    await run.move(other, 200, 9, done=True, found=second)

    run = opened(store)  # as after a crash
    assert run.resumed
    (one,) = store.range_jobs.open_ranges("job")
    assert (one.cursor, one.rows) == (50, 5)
    again = MismatchCounts("user")
    again.add_mismatches([missing("b")])
    await run.move(one, 60, 6, found=again)
    again.add_repaired([missing("b")])
    await run.move(one, 100, 10, done=True, found=again)
    found = run.found["types"]["user"]
    assert (found["missing"], found["left"]["missing"], found["repaired"]) == (3, 2, 1)
    assert sorted(each["id"] for each in found["examples"]["missing"]) == ["a", "b", "c"]
    kept = store.range_jobs.get("job")
    assert kept is not None
    assert kept.report == run.found
    store.close()


async def test_all_rows_are_waited_for(tmp_path: Path) -> None:
    store = Store(tmp_path)
    ranges = [("user", 0, 100, ROWS), ("user", 100, 200, ROWS)]
    store.range_jobs.add(RangeJob(id="job", kind="reconcile"), ranges, limit=1)
    run = opened(store)
    left = store.range_jobs.open_ranges("job")
    run.begin(left)
    waiting = asyncio.create_task(run.wait_rows("user"))
    for part in left:
        await asyncio.sleep(0.01)
        assert not waiting.done()
        await run.move(part, part.last, 1, done=True)
    await asyncio.wait_for(waiting, 20)
    store.close()


@given(REPORTS, REPORTS)
def test_reports_add_up(one: Mapping[str, int], other: Mapping[str, int]) -> None:
    added = add_reports({"types": one}, {"types": other})["types"]
    assert added == {name: one.get(name, 0) + other.get(name, 0) for name in {*one, *other}}


@pytest.mark.parametrize("count", [1, LONGEST_LIST])
def test_examples_are_few(count: int) -> None:
    one: dict[str, Any] = {"examples": {"missing": list(range(count))}}
    added = add_reports(one, one)
    assert len(added["examples"]["missing"]) == min(2 * count, LONGEST_LIST)
    assert len(one["examples"]["missing"]) == count
