"""One alias in trouble: its own documents wait, those of every other alias are written all the while."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from cdc_daemon.model.errors import ElasticsearchRefusedError, ElasticsearchUnavailableError
from cdc_daemon.search import Outcome, RetryReason
from cdc_daemon.search.alias_troubles import AliasTrouble
from cdc_daemon.search.failure import Failure
from cdc_daemon.search.index_swap import AliasIndices
from cdc_daemon.search.swap_steps import SwapSteps
from cdc_daemon.search.swap_watch import SwapWatch
from cdc_daemon.search.swap_writer import SwapWriter
from tests.unit.search.conftest import Bench, wait_back
from tests.unit.search.fake import (
    PRODUCT,
    Reply,
    Seen,
    SwapAliases,
    answer,
    error,
    good_item,
    refused,
    refusing,
)

BLOCKED = error(403, "cluster_block_exception", "index [users-1] blocked by: [FORBIDDEN/8/index write (api)];")
CLOSED = error(400, "index_closed_exception", "closed")
MISSING = error(404, "index_not_found_exception", "[require_alias] request flag is [true] and [users] is not an alias")


def blocking(alias: str, item: dict[str, Any]) -> Reply:
    """Answer every operation and guard of an alias with this item."""

    async def reply(seen: Seen, _request: web.Request) -> web.StreamResponse:
        items = [
            {action: item} if meta["_index"] == alias else good_item(action, meta) for action, meta, _ in seen.actions
        ]
        return answer(items, errors=True)

    return reply


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 -- the fake server tells nobody
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("item", [BLOCKED, CLOSED, MISSING], ids=["blocked", "closed", "missing"])
async def test_the_others_are_written_while_one_alias_takes_nothing(bench: Bench, item: dict[str, Any]) -> None:
    bench.server.script.append(blocking("users", item))
    bench.server.probe_script.extend([blocking("users", item)] * 1000)
    writer = bench.writer()
    first = await writer.write([bench.index("a"), bench.index("b", alias="orders"), bench.delete("c", alias="orders")])
    assert [result.outcome for result in first] == [Outcome.REREAD, Outcome.INDEXED, Outcome.DELETED]

    for _ in range(3):
        again = await writer.write([bench.index("a"), bench.index("b", alias="orders")])
        assert [result.outcome for result in again] == [Outcome.REREAD, Outcome.INDEXED]

    assert writer.available
    assert writer.failure is None
    assert [seen.ids for seen in bench.server.requests] == [["a", "b", "c"], ["b"], ["b"], ["b"]]
    trouble = writer.trouble("users")
    assert trouble is not None
    assert (trouble.failure.error_type, trouble.failure.reason) == (item["error"]["type"], item["error"]["reason"])
    assert writer.trouble("orders") is None
    assert bench.observed.retries == {RetryReason.REFUSED: 4}

    bench.server.probe_script.clear()
    await wait_back(writer)
    (result,) = await writer.write([bench.index("a")])
    assert result.outcome is Outcome.INDEXED


async def test_each_alias_in_trouble_comes_back_by_itself(bench: Bench) -> None:
    open_aliases: set[str] = set()

    async def probed(seen: Seen, _request: web.Request) -> web.StreamResponse:
        items = [
            good_item(action, meta) if meta["_index"] in open_aliases else {action: BLOCKED}
            for action, meta, _ in seen.actions
        ]
        return answer(items, errors=True)

    bench.server.script.append(probed)
    bench.server.probe_script.extend([probed] * 1000)
    writer = bench.writer()
    await writer.write([bench.index("a"), bench.index("b", alias="orders")])
    assert set(writer.troubled) == {"users", "orders"}

    open_aliases.add("orders")
    await until(lambda: set(writer.troubled) == {"users"})
    (result,) = await writer.write([bench.index("b", alias="orders")])
    assert result.outcome is Outcome.INDEXED
    open_aliases.add("users")
    await wait_back(writer)


async def test_what_was_built_before_its_alias_was_back_is_not_sent(bench: Bench) -> None:
    bench.server.script.append(blocking("users", CLOSED))
    writer = bench.writer()
    before, other = bench.index("before"), bench.index("other", alias="orders")
    await writer.write([bench.index("a")])
    await wait_back(writer)

    results = await writer.write([before, other, bench.index("after")])

    assert [(result.outcome, result.error_type) for result in results] == [
        (Outcome.REREAD, "body_too_old"),
        (Outcome.INDEXED, None),
        (Outcome.INDEXED, None),
    ]


@pytest.mark.parametrize(
    ("error_type", "reason"),
    [
        ("cluster_block_exception", "blocked by: [FORBIDDEN/6/cluster read-only (api)];"),
        ("master_not_discovered_exception", "no master"),
    ],
)
async def test_what_concerns_every_index_is_no_trouble_of_one(bench: Bench, error_type: str, reason: str) -> None:
    item = error(403, error_type, reason)
    bench.server.script.append(blocking("users", item))
    bench.server.probe_script.append(blocking("users", item))
    writer = bench.writer()

    await writer.write([bench.index("a")])

    assert not writer.available
    assert not writer.troubled
    await writer.wait_available()


async def test_a_probe_that_is_refused_because_of_one_alias_tells_which(bench: Bench) -> None:
    """A proxy refuses every request that names one alias: that is no outage for the others."""

    async def proxy(seen: Seen, request: web.Request) -> web.StreamResponse:
        if any(meta["_index"] == "users" for _, meta, _ in seen.actions):
            return refused(403, "security_exception", "not your index")
        return answer([good_item(action, meta) for action, meta, _ in seen.actions], errors=True)

    bench.server.script.extend([proxy] * 10)
    bench.server.probe_script.extend([proxy] * 1000)
    writer = bench.writer()
    await writer.write([bench.index("a"), bench.index("b", alias="orders")])
    assert not writer.available
    await writer.wait_available()

    results = await writer.write([bench.index("a"), bench.index("b", alias="orders")])

    assert [result.outcome for result in results] == [Outcome.REREAD, Outcome.INDEXED]
    assert list(writer.troubled) == ["users"]


async def test_an_alias_in_trouble_is_not_probed_while_elasticsearch_is_away(bench: Bench) -> None:
    bench.server.script.extend([blocking("users", BLOCKED), refusing(503, "exception")])
    bench.server.probe_script.extend([refusing(503, "exception")] * 3)
    writer = bench.writer()
    await writer.write([bench.index("a")])
    await writer.write([bench.index("b", alias="orders")])
    assert not writer.available

    await writer.wait_available()
    assert {meta["_index"] for seen in bench.server.probes[:3] for _, meta, _ in seen.actions} <= {"users", "orders"}
    await wait_back(writer)
    assert bench.observed.changes == [False, True]


async def test_an_alias_that_lacks_something_is_not_written_to_until_it_has_it(bench: Bench) -> None:
    lacking: list[Exception] = [
        ElasticsearchRefusedError("there is no such alias", hint="create it", alias="users"),
        ElasticsearchUnavailableError("no answer", alias="users"),
    ]
    prepared: list[str] = []

    async def prepare(alias: str) -> None:
        prepared.append(alias)
        if lacking:
            raise lacking.pop(0)

    writer = bench.writer(prepare=prepare)
    writer.hold("users", ElasticsearchRefusedError("the index exists, but not the alias", hint="add it"))
    results = await writer.write([bench.index("a"), bench.index("b", alias="orders")])
    assert [result.outcome for result in results] == [Outcome.REREAD, Outcome.INDEXED]
    trouble = writer.trouble("users")
    assert trouble is not None
    assert (trouble.failure.reason, trouble.hint) == ("the index exists, but not the alias", "add it")

    await wait_back(writer)
    assert prepared == ["users"] * 3


async def test_the_trouble_of_an_alias_that_is_written_to_no_more_is_forgotten(bench: Bench) -> None:
    bench.server.script.append(blocking("users", BLOCKED))
    bench.server.probe_script.extend([blocking("users", BLOCKED)] * 1000)
    writer = bench.writer()
    told: list[list[str]] = []

    def tell() -> None:
        told.append(list(writer.troubled))

    writer.on_troubles_changed(tell)
    await writer.write([bench.index("a")])

    writer.keep_targets({"orders"})

    assert told == [["users"], []]


class Aliases:
    """The aliases of two types, one of which may be impossible to look at."""

    def __init__(self) -> None:
        self.blocked = True

    def reply(self, _method: str, path: str, _body: Any) -> web.Response:
        if self.blocked and "users" in path:
            return refused(403, "cluster_block_exception", "index [users-1] blocked by: [FORBIDDEN/9/index metadata]")
        told: dict[str, Any] = {
            f"{alias}-1": {"aliases": {alias: {}}} for alias in ("users", "orders") if alias in path
        }
        return web.json_response(told, headers=PRODUCT)


async def test_an_alias_that_cannot_be_looked_at_holds_up_no_other(bench: Bench) -> None:
    aliases = Aliases()
    bench.server.other = aliases.reply
    watch = SwapWatch(bench.engine, ["users", "orders"])
    changes = SwapSteps(bench.engine, watch, seconds=0)
    writer = SwapWriter(
        bench.writer(), bench.writer, watch, stop_writes=changes.stop_writes, mark_behind=changes.mark_behind
    )

    results = await writer.write([bench.index("a"), bench.index("b", alias="orders"), bench.delete("c")])

    assert [result.outcome for result in results] == [Outcome.REREAD, Outcome.INDEXED, Outcome.REREAD]
    assert writer.available
    trouble = writer.troubles()["users"]
    assert "users-1" in trouble.failure.reason
    assert writer.trouble("orders") is None

    aliases.blocked = False
    await watch.look()
    assert writer.troubles() == {}
    (result,) = await writer.write([bench.index("a")])
    assert result.outcome is Outcome.INDEXED


async def test_trouble_of_the_live_index_of_two_is_that_of_its_alias(bench: Bench) -> None:
    bench.server.other = SwapAliases().reply
    watch = SwapWatch(bench.engine, ["users"])
    changes = SwapSteps(bench.engine, watch, seconds=0)
    live, other = bench.writer(), bench.writer()
    writer = SwapWriter(live, lambda: other, watch, stop_writes=changes.stop_writes, mark_behind=changes.mark_behind)
    bench.server.script.extend([blocking("users-1-direct", BLOCKED)] * 2)
    bench.server.probe_script.extend([blocking("users-1-direct", BLOCKED)] * 1000)

    (result,) = await writer.write([bench.index("a")])

    assert result.outcome is Outcome.REREAD
    assert writer.trouble("users") is not None
    assert list(writer.troubles()) == ["users"]
    assert writer.live_index("users") == "users-1"
    bench.server.probe_script.clear()
    await wait_back(live)
    assert writer.troubles() == {}
    await writer.close()


async def test_another_index_in_trouble_is_let_go_and_the_alias_is_in_none(bench: Bench) -> None:
    aliases = SwapAliases()
    aliases.changeable = True
    bench.server.other = aliases.reply
    watch = SwapWatch(bench.engine, ["users"])
    changes = SwapSteps(bench.engine, watch, seconds=0)
    stop_writes: list[str] = []

    async def note(indices: AliasIndices) -> None:
        stop_writes.append(str(indices.other))

    writer = SwapWriter(
        bench.writer(), bench.writer, watch, stop_writes=note, mark_behind=changes.mark_behind, patience=0.0
    )
    bench.server.script.extend([blocking("users-2-direct", BLOCKED)] * 10)
    bench.server.probe_script.extend([blocking("users-2-direct", BLOCKED)] * 1000)
    for _ in range(2):
        (result,) = await writer.write([bench.index("a")])
        assert result.outcome is Outcome.REREAD
    assert writer.trouble("users") is None
    assert "users-2" in stop_writes
    await writer.close()


@pytest.mark.parametrize(
    ("failure", "shown"),
    [
        (Failure(403, "cluster_block_exception", "index [u-1] blocked by: []"), "index [u-1] blocked by: []"),
        (Failure(403, "security_exception", "unauthorized for user [cdc]"), "the login may not write to it"),
        (Failure(503, "unavailable_shards_exception", "request: [doc u1] on 10.0.0.7"), "its shard is not active"),
        (Failure(404, "index_not_found_exception", "x" * 400), "x" * 300 + "…"),
    ],
)
def test_what_anybody_may_read_names_no_node_document_or_login(failure: Failure, shown: str) -> None:
    trouble = AliasTrouble("users", failure, 0.0)
    assert trouble.plain() == {
        "error_type": failure.error_type,
        "reason": shown,
        "hint": failure.hint,
        "since": 0.0,
    }
