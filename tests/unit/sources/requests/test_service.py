"""The sync service: windows, deadlines, and the outcome of each id."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from cdc_daemon.model.document_operation import DocumentOutcome, Outcome
from cdc_daemon.model.errors import ElasticsearchUnavailableError, Trouble
from cdc_daemon.model.signal import Key, Signal
from cdc_daemon.pipeline.ports import Watch
from cdc_daemon.search.engine import SearchEngine
from cdc_daemon.sources.requests import NotReplicatedError, Refresh
from cdc_daemon.sources.requests.refresh import Refresher
from tests.unit.http.fake import FakeDaemon


async def test_no_more_than_a_window_is_asked_for_at_once() -> None:
    daemon = FakeDaemon()
    service, pipeline = daemon.service, daemon.pipeline
    service._window = 10
    most = 0
    held: list[tuple[Key, Watch]] = []

    def request(signals: Iterable[Signal], watch: Watch) -> None:
        nonlocal most
        held.extend((Key.of(signal), watch) for signal in signals)
        most = max(most, len(held))
        asyncio.get_running_loop().call_soon(settle)

    def settle() -> None:
        for key, watch in held[:3]:
            watch.settled(key, [DocumentOutcome("user_alias", "", Outcome.INDEXED)])
        del held[:3]
        if held:
            asyncio.get_running_loop().call_soon(settle)

    pipeline.request = request  # type: ignore[method-assign]
    outcome = await service.replicate("user", service.parse_ids("user", [str(n) for n in range(100)]), seconds=10)
    assert (outcome.indexed, len(outcome.replicated), most) == (100, 100, 10)


async def test_what_is_settled_by_the_deadline_is_told_and_the_rest_withdrawn() -> None:
    daemon = FakeDaemon()

    def request(signals: Iterable[Signal], watch: Watch) -> None:
        first, second = (Key.of(signal) for signal in signals)
        watch.settled(first, [DocumentOutcome("user_alias", "a", Outcome.INDEXED)])
        watch.delayed(second, Trouble("elasticsearch", "overload"))

    daemon.pipeline.request = request  # type: ignore[method-assign]
    with pytest.raises(NotReplicatedError) as caught:
        await daemon.service.replicate("user", daemon.service.parse_ids("user", ["a", "b"]), seconds=0.02)
    assert caught.value.service == "elasticsearch"
    assert caught.value.outcome.replicated == {"a": True}
    assert [key.partition_key for key in daemon.pipeline.withdrawn] == [b"b"]


async def test_a_refresh_that_fails_is_not_hidden() -> None:
    daemon = FakeDaemon()

    async def fail(alias: str, when: Refresh) -> None:
        raise ElasticsearchUnavailableError(f"could not refresh {alias} ({when})")

    daemon.refresher.refresh = fail  # type: ignore[method-assign]
    with pytest.raises(NotReplicatedError) as caught:
        await daemon.service.replicate("user", daemon.service.parse_ids("user", ["a"]), refresh=Refresh.NOW)
    assert (caught.value.service, caught.value.outcome.replicated) == ("elasticsearch", {"a": True})


class Indices:
    def __init__(self) -> None:
        self.refreshed: list[str] = []

    async def refresh(self, target: str) -> None:
        self.refreshed.append(target)
        await asyncio.sleep(0)


def refresher_of(indices: Any, interval: float) -> Refresher:
    engine: SearchEngine = indices
    return Refresher(engine, interval=interval)


async def test_refreshes_are_shared_by_those_who_wait() -> None:
    indices = Indices()
    refresher = refresher_of(indices, 0.02)
    await asyncio.gather(*(refresher.refresh("a", Refresh.SHARED) for _ in range(50)))
    assert indices.refreshed == ["a"]
    await asyncio.gather(*(refresher.refresh("a", Refresh.SHARED) for _ in range(50)))
    await refresher.refresh("a", Refresh.NOW)
    await refresher.refresh("a", Refresh.NO)
    assert indices.refreshed == ["a", "a", "a"]
    waiting = asyncio.create_task(refresher.refresh("b", Refresh.SHARED))
    await asyncio.sleep(0)
    waiting.cancel()
    await refresher.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_rows_of_a_partition_count_once_and_fail_their_partition() -> None:
    daemon = FakeDaemon()

    def request(signals: Sequence[Signal] | Iterable[Signal], watch: Watch) -> None:
        (key,) = (Key.of(signal) for signal in signals)
        good = key._replace(clustering=(b"1",))
        bad = key._replace(clustering=(b"2",))
        for _ in range(2):
            watch.settled(good, [DocumentOutcome("course-batch", "c:1", Outcome.INDEXED)])
            watch.settled(bad, [DocumentOutcome("course-batch", "c:2", Outcome.DEAD, "kind", "reason")])
        watch.settled(key, [])

    daemon.pipeline.request = request  # type: ignore[method-assign]
    outcome = await daemon.service.replicate("batch", daemon.service.parse_ids("batch", ["c"]))
    assert outcome.replicated == {"c": False}
    assert outcome.failures == {"c": "c:2: kind: reason"}
    assert outcome.indexed == 1


def hold(daemon: FakeDaemon) -> asyncio.Event:
    """Keep every key pending; return the event of a request that has reached the pipeline."""
    reached = asyncio.Event()

    def request(signals: Iterable[Signal], watch: Watch) -> None:
        assert list(signals)
        assert not watch.closed
        reached.set()

    daemon.pipeline.request = request  # type: ignore[method-assign]
    return reached


async def test_a_request_while_cassandra_is_unavailable_fails_at_once() -> None:
    daemon = FakeDaemon()
    hold(daemon)
    daemon.health.known = Trouble("cassandra", "no answer for 2 s")
    with pytest.raises(NotReplicatedError, match="no answer for 2 s") as caught:
        await daemon.service.replicate("user", daemon.service.parse_ids("user", ["a"]), seconds=3600)
    assert caught.value.service == "cassandra"
    assert daemon.pipeline.asked == []


async def test_those_who_wait_when_cassandra_becomes_unavailable_wait_no_longer() -> None:
    daemon = FakeDaemon()
    reached = hold(daemon)
    asked = daemon.service.parse_ids("user", ["a"])
    waiting = asyncio.create_task(daemon.service.replicate("user", asked, seconds=3600))
    await reached.wait()
    daemon.health.lost.set()
    with pytest.raises(NotReplicatedError, match="no answer for 2 s") as caught:
        await waiting
    assert caught.value.service == "cassandra"
    assert [key.partition_key for key in daemon.pipeline.withdrawn] == [b"a"]


async def test_a_job_waits_until_cassandra_is_back() -> None:
    daemon = FakeDaemon()
    reached = hold(daemon)
    daemon.health.known = Trouble("cassandra", "no answer for 2 s")
    daemon.health.lost.set()
    working = asyncio.create_task(daemon.service.replicate("user", daemon.service.parse_ids("user", ["a"])))
    await reached.wait()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not working.done()
    daemon.service.stop()
    with pytest.raises(NotReplicatedError, match="stopping"):
        await working


async def test_a_cancellation_is_never_lost_whenever_it_comes() -> None:
    """Once, a cancellation in the moment in which a request ended was lost, and the job's worker continued."""
    for rounds in range(200):
        daemon = FakeDaemon()
        asked = daemon.service.parse_ids("user", [str(number) for number in range(30)])
        settling = asyncio.create_task(daemon.service.replicate("user", asked))
        for _ in range(rounds):
            await asyncio.sleep(0)
        if settling.done():
            break
        settling.cancel()
        await asyncio.wait([settling])
        assert settling.cancelled(), rounds
    else:
        raise AssertionError("expected an end within so many rounds")
    assert rounds > 3


ALIAS_TROUBLE = Trouble("elasticsearch", "user_alias (index u-1) takes no writes: index_closed_exception", "user_alias")


@pytest.mark.parametrize("seconds", [5.0, None])
async def test_an_alias_known_to_be_in_trouble_is_told_at_once(seconds: float | None) -> None:
    daemon = FakeDaemon()
    daemon.health.known = ALIAS_TROUBLE
    with pytest.raises(NotReplicatedError) as caught:
        await daemon.service.replicate("user", daemon.service.parse_ids("user", ["a"]), seconds=seconds)
    assert (caught.value.service, caught.value.alias) == ("elasticsearch", "user_alias")
    assert caught.value.message == ALIAS_TROUBLE.reason
    assert daemon.pipeline.asked == []


@pytest.mark.parametrize("seconds", [30.0, None])
async def test_an_alias_that_gets_into_trouble_is_told_at_once(seconds: float | None) -> None:
    daemon = FakeDaemon()

    def request(signals: Iterable[Signal], watch: Watch) -> None:
        first, second = (Key.of(signal) for signal in signals)
        watch.settled(first, [DocumentOutcome("user_alias", "a", Outcome.INDEXED)])
        watch.refused(second, {"user_alias": ALIAS_TROUBLE}, [])

    daemon.pipeline.request = request  # type: ignore[method-assign]
    with pytest.raises(NotReplicatedError) as caught:
        await daemon.service.replicate("user", daemon.service.parse_ids("user", ["a", "b"]), seconds=seconds)
    assert (caught.value.alias, caught.value.outcome.replicated) == ("user_alias", {"a": True})
    assert [key.partition_key for key in daemon.pipeline.withdrawn] == [b"b"]


async def test_trouble_of_another_alias_of_the_same_row_is_none() -> None:
    daemon = FakeDaemon()

    def request(signals: Iterable[Signal], watch: Watch) -> None:
        for signal in signals:
            written = [DocumentOutcome("user_alias", "a", Outcome.INDEXED)]
            watch.refused(Key.of(signal), {"other_alias": ALIAS_TROUBLE}, written)

    daemon.pipeline.request = request  # type: ignore[method-assign]
    outcome = await daemon.service.replicate("user", daemon.service.parse_ids("user", ["a"]), seconds=5)
    assert (outcome.replicated, outcome.indexed) == ({"a": True}, 1)
