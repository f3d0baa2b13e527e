"""Two indices behind an alias, on a server that refuses what the real one refuses only by chance."""

from __future__ import annotations

import pytest
from aiohttp import web

from cdc_daemon.search import Outcome
from cdc_daemon.search.swap_steps import SwapSteps
from cdc_daemon.search.swap_watch import SwapWatch
from cdc_daemon.search.swap_writer import SwapWriter
from tests.unit.search.conftest import Bench
from tests.unit.search.fake import Reply, Seen, SwapAliases, answer, error, good_item, reset_mid_body


async def refuse_in_the_other(seen: Seen, _request: web.Request) -> web.StreamResponse:
    items = [
        {action: error(400, "document_parsing_exception")}
        if meta["_index"] == "users-2-direct"
        else good_item(action, meta)
        for action, meta, _ in seen.actions
    ]
    return answer(items, errors=True)


def losing(lost: str) -> Reply:
    """Give no answer to what goes to one index, and refuse what goes to the other with a conflict."""

    async def reply(seen: Seen, request: web.Request) -> web.StreamResponse:
        if seen.actions[0][1]["_index"] == lost:
            return await reset_mid_body(seen, request)
        return answer([{"index": error(409, "version_conflict_engine_exception")}], errors=True)

    return reply


@pytest.mark.parametrize("lost", ["users-1-direct", "users-2-direct"])
async def test_a_write_that_one_index_did_not_answer_is_told_though_the_other_did(bench: Bench, lost: str) -> None:
    bench.server.other = SwapAliases().reply
    watch = SwapWatch(bench.engine, ["users"])
    changes = SwapSteps(bench.engine, watch, seconds=0)
    writer = SwapWriter(
        bench.writer(), bench.writer, watch, stop_writes=changes.stop_writes, mark_behind=changes.mark_behind
    )
    bench.server.script.extend([losing(lost)] * 2)

    (result,) = await writer.write([bench.index("u1")])

    assert result.outcome is Outcome.REREAD
    assert result.unanswered
    await writer.close()


async def test_what_the_other_index_refuses_is_settled_again_until_that_index_is_marked(bench: Bench) -> None:
    aliases = SwapAliases()
    bench.server.other = aliases.reply
    watch = SwapWatch(bench.engine, ["users"])
    changes = SwapSteps(bench.engine, watch, seconds=0)
    writer = SwapWriter(
        bench.writer(),
        bench.writer,
        watch,
        stop_writes=changes.stop_writes,
        mark_behind=changes.mark_behind,
    )
    bench.server.script.extend([refuse_in_the_other] * 20)
    (result,) = await writer.write([bench.index("u1")])
    assert (result.outcome, result.error_type) == (Outcome.REREAD, "document_parsing_exception")
    assert "users-behind" not in aliases.indices["users-2"]
    aliases.changeable = True
    (result,) = await writer.write([bench.index("u1")])
    assert result.outcome is Outcome.INDEXED
    assert "users-behind" in aliases.indices["users-2"]
    await writer.close()
