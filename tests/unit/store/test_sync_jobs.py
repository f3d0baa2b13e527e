"""Jobs as they are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc_daemon.store import Store
from cdc_daemon.store.sync_jobs import KEPT_FAILURES, SyncJob


def job(identity: str = "1") -> SyncJob:
    return SyncJob(id=identity, kind="sync", object_type="user", refresh="true")


def test_a_job_and_its_parts_outlive_the_process(tmp_path: Path) -> None:
    store = Store(tmp_path)
    kept = store.sync_jobs.add(job(), ["a", {"b": 1}, "c"], part=2, limit=1)
    assert kept is not None
    assert (kept.state, kept.total, kept.refresh, kept.open) == ("queued", 3, "true", True)
    assert store.sync_jobs.add(job("2"), ["d"], part=2, limit=1) is None
    assert store.sync_jobs.get("2") is None
    first = store.sync_jobs.next_part("1")
    assert first is not None
    assert first.ids == ["a", {"b": 1}]
    store.sync_jobs.complete_part("1", first, indexed=1, failures={"b:1": "why"})
    store.sync_jobs.complete_part("1", first, indexed=1, failures={"b:1": "why"})
    store.close()

    store = Store(tmp_path)
    found = store.sync_jobs.next_open("sync", "user")
    assert found is not None
    assert (found.state, found.settled, found.indexed, found.failed) == ("running", 2, 1, 1)
    assert store.sync_jobs.failures("1") == {"b:1": "why"}
    second = store.sync_jobs.next_part("1")
    assert second is not None
    assert second.ids == ["c"]
    store.sync_jobs.complete_part("1", second, deleted=1, missing=1, failures={})
    assert store.sync_jobs.next_part("1") is None
    store.sync_jobs.finish("1")
    assert store.sync_jobs.next_open("sync", "user") is None
    done = store.sync_jobs.get("1")
    assert done is not None
    assert (done.state, done.settled, done.open) == ("done", 3, False)
    assert [each.id for each in store.sync_jobs.newest()] == ["1"]
    store.close()


def test_jobs_of_a_type_take_turns(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for identity, object_type in (("b", "user"), ("x", "device"), ("a", "user"), ("c", "user")):
        kept = store.sync_jobs.add(SyncJob(id=identity, kind="sync", object_type=object_type), ["1"], part=1, limit=9)
        assert kept is not None
    assert store.sync_jobs.open_types("sync") == {"user", "device"}
    assert store.sync_jobs.open_types("other") == frozenset()
    turns, last = [], None
    for _ in range(5):
        last = store.sync_jobs.next_open("sync", "user", after=last)
        assert last is not None
        turns.append(last.id)
    assert turns == ["b", "a", "c", "b", "a"]
    for identity in "bac":
        store.sync_jobs.finish(identity)
    assert store.sync_jobs.next_open("sync", "user", after=last) is None
    assert store.sync_jobs.open_types("sync") == {"device"}
    store.close()


def test_old_jobs_are_forgotten_with_all_they_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    store.sync_jobs.add(job(), ["a"], part=1, limit=9)
    part = store.sync_jobs.next_part("1")
    assert part is not None
    store.sync_jobs.complete_part("1", part, failures={f"id{n}": "why" for n in range(KEPT_FAILURES + 5)})
    store.sync_jobs.finish("1", message="no mapping")
    failed = store.sync_jobs.get("1")
    assert failed is not None
    assert (failed.state, failed.message, failed.failed) == ("failed", "no mapping", KEPT_FAILURES + 5)
    assert len(store.sync_jobs.failures("1", limit=10_000)) == KEPT_FAILURES
    monkeypatch.setattr("cdc_daemon.store.sync_jobs.KEPT_SECONDS", -1.0)
    store.sync_jobs.add(job("2"), ["a"], part=1, limit=9)
    assert store.sync_jobs.get("1") is None
    assert store.sync_jobs.failures("1") == {}
    store.close()


def test_a_job_that_is_cancelled_stays_so(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.sync_jobs.add(job(), ["a", "b"], part=1, limit=1) is not None
    part = store.sync_jobs.next_part("1")
    assert part is not None
    assert store.sync_jobs.cancel("1")
    assert store.sync_jobs.next_open("sync", "user") is None
    assert store.sync_jobs.next_part("1") is None
    store.sync_jobs.complete_part("1", part, indexed=1, failures={})
    assert not store.sync_jobs.finish("1")
    assert not store.sync_jobs.cancel("1")
    assert not store.sync_jobs.cancel("2"), "there is none"
    kept = store.sync_jobs.get("1")
    assert kept is not None
    assert (kept.state, kept.indexed, kept.open) == ("cancelled", 0, False)
    store.close()


def test_a_job_that_is_cancelled_before_its_turn_is_not_begun(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.sync_jobs.add(job(), ["a"], part=1, limit=1) is not None
    assert store.sync_jobs.cancel("1")
    assert store.sync_jobs.next_part("1") is None
    kept = store.sync_jobs.get("1")
    assert kept is not None
    assert (kept.state, kept.started) == ("cancelled", None)
    store.close()
