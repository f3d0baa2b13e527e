"""Elasticsearch is unavailable: only keys are kept, and probes notice its return."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from cdc_daemon.model.backoff import Backoff
from cdc_daemon.model.errors import ElasticsearchUnavailableError
from cdc_daemon.search import Outcome, ProbePauses, RetryReason, SilentObserver
from cdc_daemon.search.availability import Availability
from cdc_daemon.search.bulk_body import GUARD_ID, Target, WriteTrouble
from cdc_daemon.search.failure import Failure
from tests.unit.search.conftest import Bench, wait_back
from tests.unit.search.fake import (
    PRODUCT,
    Reply,
    Seen,
    all_failing,
    error,
    failing,
    never,
    refusing,
    reset_mid_body,
    saying,
    truncated,
)


def answering(body: bytes) -> Reply:
    async def reply(seen: Seen, request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, headers={**PRODUCT, "Content-Type": "application/json"})

    return reply


BROKEN = {
    "reset in mid-body": (reset_mid_body, "connection_error"),
    "truncated JSON": (truncated, "broken_answer"),
    "too few items": (answering(b'{"errors":false,"items":[{"index":{"status":200}}]}'), "broken_answer"),
    "no items": (answering(b'{"errors":false}'), "broken_answer"),
    "no object": (answering(b"[]"), "broken_answer"),
    "empty items": (answering(b'{"errors":true,"items":[{},{}]}'), "broken_answer"),
    "items without status": (answering(b'{"errors":true,"items":[{"index":{}},{"index":{}}]}'), "broken_answer"),
    "empty body": (answering(b""), "broken_answer"),
    "500": (refusing(500, "exception"), "exception"),
    "502 of a proxy": (saying(502, "<html>Bad Gateway</html>"), "http_502"),
    "503 of a proxy, untyped": (saying(503, "no healthy upstream", "application/octet-stream"), "http_503"),
    "503": (refusing(503, "master_not_discovered_exception"), "master_not_discovered_exception"),
    "504": (saying(504, "{}", "application/json"), "http_504"),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_request_without_a_whole_answer_is_read_again_and_probed_for(bench: Bench, name: str) -> None:
    reply, error_type = BROKEN[name]
    bench.server.script.append(reply)
    writer = bench.writer()

    results = await writer.write([bench.index("a"), bench.delete("b")])

    assert [(result.outcome, result.error_type) for result in results] == [(Outcome.REREAD, error_type)] * 2
    assert all(result.unanswered for result in results)
    assert writer.failure is not None
    await writer.wait_available()
    assert writer.available
    assert bench.observed.changes == [False, True]
    assert len(bench.server.requests) == 1
    ((action, meta, document),) = bench.server.probes[0].actions
    assert (action, meta, document) == ("update", {"_index": "users", "_id": GUARD_ID, "routing": "a"}, {"doc": {}})
    again = await writer.write([bench.index("a"), bench.delete("b")])
    assert [result.outcome for result in again] == [Outcome.INDEXED, Outcome.DELETED]


async def test_an_answer_that_comes_too_late_counts_as_none_though_it_was_applied(bench: Bench) -> None:
    bench.server.script.append(never)
    writer = bench.writer(request_timeout=0.1)

    results = await writer.write([bench.index("a"), bench.index("b")])

    assert [(result.outcome, result.error_type) for result in results] == [(Outcome.REREAD, "connection_timeout")] * 2
    assert all(result.unanswered for result in results)
    assert bench.observed.retries == {RetryReason.CONNECTION: 2}


async def test_a_request_is_given_up_at_the_age_of_a_body(bench: Bench) -> None:
    bench.server.script.append(never)
    writer = bench.writer(request_timeout=30.0, max_body_age=1.0)

    (result,) = await writer.write([bench.index("a")])

    assert result.error_type == "connection_timeout"
    assert bench.server.requests[0].query["timeout"] == "500ms"


async def test_a_server_that_is_gone_is_said_once_and_so_is_its_return(bench: Bench) -> None:
    writer = bench.writer()
    await writer.write([bench.index("a")])
    await bench.server.stop()

    with capture_logs() as logs:
        for _ in range(3):
            (result,) = await writer.write([bench.index("a")])
            assert result.outcome is Outcome.REREAD
        await asyncio.sleep(0.05)
        assert not writer.available
        await bench.server.start()
        await asyncio.wait_for(writer.wait_available(), 5)

    assert [entry["event"] for entry in logs] == ["elasticsearch.unavailable", "elasticsearch.available"]
    assert logs[0]["error_type"] == "connection_error"
    assert logs[0]["indices"] == ["users"]
    assert logs[1]["seconds"] >= 0.05
    (result,) = await writer.write([bench.index("a")])
    assert result.outcome is Outcome.INDEXED


async def test_what_found_no_connection_was_not_sent(bench: Bench) -> None:
    await bench.server.stop()

    results = await bench.writer().write([bench.index("a"), bench.index("b")])

    assert [result.outcome for result in results] == [Outcome.REREAD] * 2
    assert not any(result.unanswered for result in results)


@pytest.mark.parametrize(("status", "error_type"), [(403, "cluster_block_exception"), (401, "security_exception")])
async def test_what_was_refused_is_not_applied_later(bench: Bench, status: int, error_type: str) -> None:
    bench.server.script.append(refusing(status, error_type))

    (result,) = await bench.writer().write([bench.index("a")])

    assert result.outcome is Outcome.REREAD
    assert not result.unanswered


async def test_what_was_built_before_the_end_of_an_outage_is_not_sent_after_it(bench: Bench) -> None:
    bench.server.script.append(reset_mid_body)
    writer = bench.writer()
    before = bench.index("before")
    await writer.write([bench.index("a")])
    during = bench.index("during")
    await writer.wait_available()

    results = await writer.write([before, during, bench.index("after")])

    assert [result.outcome for result in results] == [Outcome.REREAD, Outcome.REREAD, Outcome.INDEXED]
    assert [seen.ids for seen in bench.server.requests] == [["a"], ["after"]]
    assert bench.observed.retries == {RetryReason.CONNECTION: 1, RetryReason.STALE_BODY: 2}


async def test_while_it_is_away_nothing_is_sent(bench: Bench) -> None:
    bench.server.script.append(refusing(503, "exception"))
    bench.server.probe_script.extend([refusing(503, "exception")] * 1000)
    writer = bench.writer()
    await writer.write([bench.index("a")])

    results = await writer.write([bench.index("b"), bench.index("c")])

    assert [(result.outcome, result.status) for result in results] == [(Outcome.REREAD, 503)] * 2
    assert not any(result.unanswered for result in results)
    assert len(bench.server.requests) == 1


async def test_what_waits_under_overload_gives_up_when_the_server_goes_away(bench: Bench) -> None:
    overloaded = all_failing(429, "es_rejected_execution_exception")
    writer = bench.writer(retry_pause=0.1, longest_retry_pause=0.1)
    bench.server.script.extend([overloaded, refusing(503, "exception")])
    bench.server.probe_script.extend([refusing(503, "exception")] * 1000)
    waiting = asyncio.create_task(writer.write([bench.index("a")]))
    await bench.server.wait_for_requests(1)
    await asyncio.sleep(0.01)
    await writer.write([bench.index("b")])

    (result,) = await waiting

    assert (result.outcome, result.status) == (Outcome.REREAD, 503)
    assert len(bench.server.requests) == 2


async def test_a_shard_that_is_down_is_probed_by_its_own_routing(bench: Bench) -> None:
    down = error(503, "unavailable_shards_exception", "primary shard is not active")
    bench.server.script.append(failing({"b": down}))
    bench.server.probe_script.extend([all_failing(503, "unavailable_shards_exception")] * 2)
    writer = bench.writer()

    results = await writer.write([bench.index("a"), bench.index("b")])

    assert [(result.outcome, result.unanswered) for result in results] == [
        (Outcome.INDEXED, False),
        (Outcome.REREAD, True),
    ]
    assert writer.available
    await wait_back(writer)
    assert len(bench.server.probes) == 3
    assert {probe.actions[0][1]["routing"] for probe in bench.server.probes} == {"b"}


async def test_each_alias_in_trouble_is_probed(bench: Bench) -> None:
    bench.server.script.append(reset_mid_body)
    bench.server.probe_script.append(failing({}))
    writer = bench.writer()

    await writer.write([bench.index("a"), bench.index("b", alias="orders"), bench.index("c")])
    await writer.wait_available()

    targets = [(meta["_index"], meta["routing"]) for _, meta, _ in bench.server.probes[0].actions]
    assert targets == [("users", "a"), ("orders", "b")]


async def test_a_second_outage_is_not_probed_by_the_first_ones_aliases(bench: Bench) -> None:
    bench.server.script.extend([reset_mid_body] * 2)
    writer = bench.writer()
    for alias in ("users", "orders"):
        await writer.write([bench.index("a", alias=alias)])
        await writer.wait_available()

    assert [[meta["_index"] for _, meta, _ in probe.actions] for probe in bench.server.probes] == [
        ["users"],
        ["orders"],
    ]


async def test_a_probe_that_is_rejected_for_overload_shows_that_it_is_up(bench: Bench) -> None:
    bench.server.script.append(reset_mid_body)
    bench.server.probe_script.append(refusing(429, "es_rejected_execution_exception"))
    writer = bench.writer()

    await writer.write([bench.index("a")])
    await writer.wait_available()

    assert len(bench.server.probes) == 1


async def test_two_failures_at_once_are_one_outage(bench: Bench) -> None:
    bench.server.script.extend([reset_mid_body] * 4)
    writer = bench.writer(documents=1)

    with capture_logs() as logs:
        results = await writer.write([bench.index(name) for name in "abcdefgh"])
        await writer.wait_available()

    assert {result.outcome for result in results} == {Outcome.REREAD}
    assert len(bench.server.requests) <= 4
    assert [entry["event"] for entry in logs] == ["elasticsearch.unavailable", "elasticsearch.available"]


async def test_cancelling_a_write_leaves_nothing_running(bench: Bench) -> None:
    bench.server.script.extend([never] * 4)
    writer = bench.writer(documents=1)
    before = asyncio.all_tasks()
    writing = asyncio.create_task(writer.write([bench.index(name) for name in "abcdefgh"]))
    await bench.server.wait_for_requests(4)

    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing

    ours = [task for task in asyncio.all_tasks() - before if "elastic" in repr(task.get_coro())]
    assert ours == []
    bench.server.script.clear()
    results = await asyncio.wait_for(writer.write([bench.index(name) for name in "abcdefgh"]), 5)
    assert {result.outcome for result in results} == {Outcome.INDEXED}


async def test_closing_stops_the_probing_and_wakes_who_waits(bench: Bench) -> None:
    bench.server.script.append(reset_mid_body)
    bench.server.probe_script.extend([refusing(503, "exception")] * 1000)
    writer = bench.writer()
    await writer.write([bench.index("a")])
    waiting = asyncio.create_task(writer.wait_available())
    await asyncio.sleep(0.01)

    await writer.close()

    with pytest.raises(ElasticsearchUnavailableError):
        await waiting
    probes = len(bench.server.probes)
    await asyncio.sleep(0.05)
    # One may have been on its way: what was sent is not called back.
    assert len(bench.server.probes) <= probes + 1


async def test_a_cancelled_wait_does_not_stop_the_probing(bench: Bench) -> None:
    bench.server.script.append(reset_mid_body)
    bench.server.probe_script.extend([refusing(503, "exception")] * 3)
    writer = bench.writer()
    await writer.write([bench.index("a")])

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(writer.wait_available(), 0.001)

    await asyncio.wait_for(writer.wait_available(), 5)


@pytest.mark.parametrize(
    ("up_for", "pauses"),
    [(0.0, [1, 2, 4, 8, 10, 10]), (9.0, [1, 2, 4, 8, 10, 10]), (11.0, [1, 2, 4, 1, 2, 4])],
)
async def test_trouble_that_comes_back_at_once_is_probed_less_and_less(
    monkeypatch: pytest.MonkeyPatch, up_for: float, pauses: list[float]
) -> None:
    bounds: list[float] = []

    class Recording(Backoff):
        def next(self, last: float | None = None) -> float:
            assert last is not None
            bounds.append(min(self._first * 2**self._attempts, last))
            super().next(last)
            return 0.0

    monkeypatch.setattr("cdc_daemon.search.availability.Backoff", Recording)
    down = Failure(503, "exception", "down")
    answers: list[Failure | list[WriteTrouble]] = [down, down, [], down, down, []]
    now = 0.0

    async def probe(targets: Sequence[Target]) -> Failure | list[WriteTrouble]:
        return answers.pop(0)

    availability = Availability(
        probe, observer=SilentObserver(), pauses=ProbePauses(first=1.0, down=10.0), clock=lambda: now
    )
    for _ in range(2):
        availability.lost(WriteTrouble(down, (Target("users", "a"),)))
        await availability.wait()
        now += up_for

    assert bounds == pauses


async def test_doubt_is_looked_into(bench: Bench) -> None:
    writer = bench.writer()
    writer.doubt("users")
    while not bench.server.probes:  # noqa: ASYNC110 - the fake server tells nobody
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.05)
    assert bench.observed.changes == []

    await bench.server.stop()
    writer.doubt("users")
    writer.doubt("users")
    while writer.available:  # noqa: ASYNC110 - nor does the writer
        await asyncio.sleep(0.001)
    await bench.server.start()
    await writer.wait_available()
    assert bench.observed.changes == [False, True]


async def test_pauses_double_up_to_their_cap_with_jitter() -> None:
    backoff = Backoff(first=1.0)

    for bound in (1.0, 2.0, 4.0, 5.0, 5.0):
        assert bound / 2 <= backoff.next(5.0) <= bound
    assert 15.0 <= Backoff(first=30.0).next(30.0) <= 30.0
    backoff.reset()
    assert backoff.next(5.0) <= 1.0
