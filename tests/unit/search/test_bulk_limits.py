"""Elasticsearch has no room: wait, and send again only what failed, while the bodies are young enough."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from cdc_daemon.search import Outcome, RetryReason
from cdc_daemon.search.bulk_limits import AdaptiveLimit
from tests.unit.search.conftest import Bench
from tests.unit.search.fake import Seen, all_failing, error, failing, refusing, saying

REJECTED = error(429, "es_rejected_execution_exception", "rejected execution of primary operation")


async def test_only_what_failed_is_sent_again_with_the_same_body(bench: Bench) -> None:
    breaker = error(429, "circuit_breaking_exception", "Data too large")
    bench.server.script.extend([failing({"b": REJECTED, "d": breaker}), failing({"d": REJECTED})])
    operations = [bench.index("a"), bench.index("b"), bench.delete("c"), bench.index("d")]

    results = await bench.writer().write(operations)

    assert [result.outcome for result in results] == [
        Outcome.INDEXED,
        Outcome.INDEXED,
        Outcome.DELETED,
        Outcome.INDEXED,
    ]
    assert [seen.ids for seen in bench.server.requests] == [["a", "b", "c", "d"], ["b", "d"], ["d"]]
    assert bench.server.requests[2].actions[0] == bench.server.requests[0].actions[3]
    assert bench.observed.retries == {RetryReason.OVERLOAD: 3}
    assert bench.observed.changes == []


@pytest.mark.parametrize(
    "whole",
    [
        refusing(429, "es_rejected_execution_exception"),
        refusing(429, "circuit_breaking_exception"),
        saying(429, "slow down"),
    ],
)
async def test_a_request_rejected_as_a_whole_is_sent_again(bench: Bench, whole: object) -> None:
    bench.server.script.append(whole)  # type: ignore[arg-type]
    writer = bench.writer()

    results = await writer.write([bench.index("a"), bench.index("b")])

    assert [result.outcome for result in results] == [Outcome.INDEXED] * 2
    assert len(bench.server.requests) == 2
    assert writer.available


async def test_a_full_disk_is_no_overload(bench: Bench) -> None:
    blocked = error(429, "cluster_block_exception", "disk usage exceeded flood-stage watermark")
    bench.server.script.append(failing({"a": blocked}))
    writer = bench.writer()

    (result,) = await writer.write([bench.index("a")])

    assert result.outcome is Outcome.REREAD
    assert len(bench.server.requests) == 1
    assert list(writer.troubled) == ["users"]


async def test_a_body_that_grew_old_under_overload_is_not_sent_again(bench: Bench) -> None:
    async def reject_and_let_time_pass(seen: Seen, request: web.Request) -> web.StreamResponse:
        bench.monotonic_offset += 20
        return await all_failing(429, "es_rejected_execution_exception")(seen, request)

    bench.server.script.extend([reject_and_let_time_pass] * 5)
    old = bench.index("old")
    bench.monotonic_offset += 8
    young = bench.index("young")

    results = await bench.writer(max_body_age=25.0).write([old, young])

    assert [seen.ids for seen in bench.server.requests] == [["old", "young"], ["young"]]
    assert [(result.outcome, result.error_type) for result in results] == [(Outcome.REREAD, "body_too_old")] * 2
    assert bench.observed.retries == {RetryReason.OVERLOAD: 3, RetryReason.STALE_BODY: 2}


async def test_an_old_body_is_not_even_sent_once(bench: Bench) -> None:
    old = bench.index("old")
    bench.monotonic_offset += 31

    results = await bench.writer().write([old, bench.index("young")])

    assert [result.outcome for result in results] == [Outcome.REREAD, Outcome.INDEXED]
    assert [seen.ids for seen in bench.server.requests] == [["young"]]


async def test_a_body_that_grew_old_waiting_for_a_connection_is_not_sent(bench: Bench) -> None:
    arrived, answered = asyncio.Event(), asyncio.Event()

    async def hold(seen: Seen, request: web.Request) -> web.StreamResponse:
        arrived.set()
        await answered.wait()
        return await failing({})(seen, request)

    bench.server.script.append(hold)
    writer = bench.writer(connections=1)
    first = asyncio.create_task(writer.write([bench.index("a")]))
    await arrived.wait()
    second = asyncio.create_task(writer.write([bench.index("b")]))
    await asyncio.sleep(0)
    bench.monotonic_offset += 31
    answered.set()

    assert [result.outcome for result in await first] == [Outcome.INDEXED]
    assert [result.outcome for result in await second] == [Outcome.REREAD]
    assert len(bench.server.requests) == 1


async def test_overload_narrows_the_requests_under_way_and_success_widens_them(bench: Bench) -> None:
    overloaded = all_failing(429, "es_rejected_execution_exception")
    bench.server.script.extend([overloaded] * 3)
    writer = bench.writer()

    with capture_logs() as logs:
        await writer.write([bench.index("a")])
        for _ in range(12):
            await writer.write([bench.index("a")])
        bench.server.script.append(overloaded)
        await writer.write([bench.index("a")])

    narrowed = [entry["requests_at_once"] for entry in logs if entry["event"] == "elasticsearch.overloaded"]
    assert narrowed == [2, 1, 2]


async def test_the_limit_halves_once_for_requests_of_the_same_time_and_grows_back() -> None:
    now = [0.0]
    limit = AdaptiveLimit(4, clock=lambda: now[0])
    async with limit.slot() as first, limit.slot() as second:
        now[0] = 1.0
        assert limit.overloaded(first)
        assert not limit.overloaded(second)
        assert limit.width == 2
    now[0] = 2.0
    async with limit.slot(), limit.slot():
        third = asyncio.create_task(limit.slot().__aenter__())
        await asyncio.sleep(0.01)
        assert not third.done()
        for _ in range(3):
            limit.succeeded()
        assert limit.width == 3
        await third
    assert limit.width == 3


async def test_the_limit_never_reaches_zero_nor_its_ceiling_plus_one() -> None:
    now = [0.0]
    limit = AdaptiveLimit(3, clock=lambda: now[0])
    for _ in range(10):
        async with limit.slot() as started:
            now[0] += 1
            limit.overloaded(started)
    assert limit.width == 1
    for _ in range(100):
        async with limit.slot():
            limit.succeeded()
    assert limit.width == 3
    held = [limit.slot() for _ in range(4)]
    for slot in held[:3]:
        await asyncio.wait_for(slot.__aenter__(), 1)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(held[3].__aenter__(), 0.01)


async def test_a_cancelled_wait_for_a_slot_takes_none() -> None:
    limit = AdaptiveLimit(1)
    async with limit.slot():
        waiting = asyncio.create_task(limit.slot().__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    async with asyncio.timeout(1), limit.slot():
        pass
