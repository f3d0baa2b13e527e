"""Jobs on whole tables as they are kept: ranges settled once, resumed where they were, counted by type."""

from __future__ import annotations

from pathlib import Path

from cdc_daemon.store import Store
from cdc_daemon.store.range_jobs import DOCUMENTS, ROWS, JobRange, RangeJob

RANGES = [("user", -(2**63), 0, ROWS), ("user", 0, 2**63 - 1, ROWS), ("user", 0, 2**63 - 1, DOCUMENTS)]


def job(identity: str = "1", **more: object) -> RangeJob:
    return RangeJob(id=identity, kind="reconcile", options={"types": ["user"]}, **more)  # type: ignore[arg-type]


def test_a_job_goes_on_where_it_was(tmp_path: Path) -> None:
    first = Store(tmp_path)
    kept = first.range_jobs.add(job(), RANGES, limit=5)
    assert kept is not None
    assert (kept.state, kept.open) == ("queued", True)
    first.range_jobs.begin("1")
    first.range_jobs.move("1", 0, -5, 10, report={"found": 1})
    first.range_jobs.move("1", 1, 2**63 - 1, 7, done=True)
    first.close()
    second = Store(tmp_path).range_jobs
    (found,) = second.open_jobs()
    assert (found.state, found.report) == ("running", {"found": 1})
    assert second.open_ranges("1") == [
        JobRange(number=0, object_type="user", first=-(2**63), last=0, cursor=-5, rows=10),
        JobRange(number=2, object_type="user", first=0, last=2**63 - 1, cursor=0, side=DOCUMENTS),
    ]
    progress = second.progress("1")
    assert (progress.ranges, progress.ranges_done, progress.rows) == (3, 1, 17)
    assert round(progress.fraction, 6) == round(2 / 3, 6)


def test_documents_are_not_counted_as_rows(tmp_path: Path) -> None:
    jobs = Store(tmp_path).range_jobs
    jobs.add(job(), RANGES, limit=5)
    jobs.move("1", 0, 0, 3, done=True)
    jobs.move("1", 2, 5, 100)
    assert jobs.rows_by_type("1") == {"user": 3}
    assert jobs.progress("1").rows == 3


def test_a_job_ends_once(tmp_path: Path) -> None:
    jobs = Store(tmp_path).range_jobs
    jobs.add(job(), RANGES, limit=5)
    assert jobs.finish("1", "cancelled")
    assert not jobs.finish("1", "done")
    ended = jobs.get("1")
    assert ended is not None
    assert (ended.state, ended.open) == ("cancelled", False)
    assert jobs.open_jobs() == []


def test_jobs_are_bounded_and_told_newest_first(tmp_path: Path) -> None:
    jobs = Store(tmp_path).range_jobs
    for number in range(3):
        assert jobs.add(job(str(number)), RANGES, limit=3) is not None
    assert jobs.add(job("more"), RANGES, limit=3) is None
    assert [each.id for each in jobs.newest(limit=2)] == ["2", "1"]
    assert jobs.get("none") is None
    assert jobs.progress("none").fraction == 1.0
