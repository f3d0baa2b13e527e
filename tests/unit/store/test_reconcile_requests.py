"""What was lost is remembered until somebody has compared it, and not longer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.cli.segment_tools.state import DaemonState
from cdc_daemon.store import Store
from cdc_daemon.store.reconcile_requests import ReconcileReason, ReconcileRequest, ReconcileRequests

DAMAGE = ReconcileRequest(reason=ReconcileReason.DAMAGE, segment_id=7, from_position=100, to_position=200)
GAP = ReconcileRequest(reason=ReconcileReason.GAP, segment_id=7, from_position=50, detail={"cause": "absent"})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


@pytest.fixture
def requests(store: Store) -> ReconcileRequests:
    return store.reconcile_requests


def ids(requests: ReconcileRequests) -> list[int]:
    return [request.id for request in requests.open() if request.id is not None]


def test_a_request_survives_and_comes_back_as_it_was(tmp_path: Path) -> None:
    first = Store(tmp_path)
    request = ReconcileRequest(
        reason=ReconcileReason.DROPPED_SEGMENTS,
        segment_id=7,
        from_position=3,
        to_segment_id=9,
        since=10,
        until=20,
        keyspace="sunbird",
        table="user",
        detail={"segments": 2},
    )
    first.reconcile_requests.add([request])
    first.close()
    again = Store(tmp_path)
    [found] = again.reconcile_requests.open()
    assert found.id is not None
    assert found.requested == found.first_requested
    assert replace(found, id=None, requested=None, first_requested=None) == request
    assert again.reconcile_requests.counts[ReconcileReason.DROPPED_SEGMENTS] == 1
    assert DaemonState(tmp_path).reconcile_requests() == [found]


def test_the_same_request_twice_is_one(requests: ReconcileRequests) -> None:
    requests.add([DAMAGE, GAP])
    requests.add([DAMAGE])
    damage, gap = sorted(requests.open(), key=lambda request: request.reason)
    assert (damage.times, gap.times) == (2, 1)
    assert damage.requested is not None
    assert damage.first_requested is not None
    assert damage.requested >= damage.first_requested
    assert sum(requests.counts.values()) == 2


def test_stretches_of_one_segment_become_one_that_covers_both(requests: ReconcileRequests) -> None:
    requests.add([DAMAGE, replace(DAMAGE, from_position=20, to_position=30, since=1)])
    [request] = requests.open()
    assert (request.from_position, request.to_position, request.since) == (20, 200, None)
    requests.add([replace(DAMAGE, from_position=150, to_position=None)])
    [request] = requests.open()
    assert (request.from_position, request.to_position) == (20, None), "an unknown end is behind any other"
    assert str(request) == "damage from 7:20 up to an unknown end"


@pytest.mark.parametrize(
    "other",
    [
        replace(DAMAGE, segment_id=8),
        replace(DAMAGE, reason=ReconcileReason.QUARANTINE),
        replace(DAMAGE, keyspace="k", table="t"),
    ],
)
def test_requests_of_other_places_stay_apart(requests: ReconcileRequests, other: ReconcileRequest) -> None:
    requests.add([DAMAGE, other])
    assert len(requests.open()) == 2


def test_what_is_settled_is_no_longer_open(requests: ReconcileRequests) -> None:
    requests.add([DAMAGE, GAP])
    first, second = ids(requests)
    requests.close([first])
    assert ids(requests) == [second]
    assert requests.counts == {reason: int(reason is ReconcileReason.GAP) for reason in ReconcileReason}
    requests.close([])
    assert ids(requests) == [second]


def test_a_reconcile_that_began_before_does_not_settle_what_was_asked_for_after(requests: ReconcileRequests) -> None:
    requests.add([GAP])
    taken = ids(requests)
    requests.add([GAP])
    requests.close(taken)
    [left] = requests.open()
    assert left.times == 2


def test_a_settled_stretch_with_a_known_end_is_not_asked_for_again(requests: ReconcileRequests) -> None:
    requests.add([DAMAGE, GAP])
    requests.close(ids(requests))
    requests.add([DAMAGE, replace(DAMAGE, from_position=120)])
    assert requests.open() == []
    requests.add([replace(DAMAGE, to_position=201)])
    assert len(requests.open()) == 1, "it is longer than what was compared"
    requests.add([GAP])
    assert len(requests.open()) == 2, "without a known end it may have grown"


def test_settled_requests_are_bounded(requests: ReconcileRequests, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdc_daemon.store.reconcile_requests.KEPT_CLOSED", 2)
    for segment in range(5):
        requests.add([replace(DAMAGE, segment_id=segment)])
        requests.close(ids(requests))
    requests.add([replace(DAMAGE, segment_id=segment) for segment in range(5)])
    assert [request.segment_id for request in requests.open()] == [0, 1, 2]


@given(
    spans=st.lists(st.tuples(st.integers(0, 50), st.none() | st.integers(0, 50)), min_size=1, max_size=8),
)
def test_whatever_is_added_is_covered(
    tmp_path_factory: pytest.TempPathFactory, spans: list[tuple[int, int | None]]
) -> None:
    store = Store(tmp_path_factory.mktemp("state"))
    for begin, length in spans:
        end = None if length is None else begin + length
        store.reconcile_requests.add([replace(DAMAGE, from_position=begin, to_position=end)])
    [request] = store.reconcile_requests.open()
    assert request.from_position == min(begin for begin, _ in spans)
    ends = [begin + length for begin, length in spans if length is not None]
    assert request.to_position == (max(ends) if len(ends) == len(spans) else None)
    assert request.times == len(spans)
    store.close()


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (DAMAGE, "damage from 7:100 up to 7:200"),
        (replace(GAP, to_segment_id=9), "gap from 7:50 up to segment 9"),
        (replace(GAP, keyspace="k", table="t"), "gap from 7:50 up to an unknown end of k.t"),
    ],
)
def test_a_request_says_where_it_is(request_: ReconcileRequest, text: str) -> None:
    assert str(request_) == text
