"""An alias that takes no writes: its keys are parked, block nothing else, and are written when it accepts writes."""

from __future__ import annotations

import asyncio

import pytest

from cdc_daemon.model.document_operation import Outcome
from cdc_daemon.model.errors import ElasticsearchRefusedError
from cdc_daemon.model.receipt import AcknowledgementLine, Receipt
from cdc_daemon.model.signal import Key
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.handover import hand_over, hand_over_each
from cdc_daemon.pipeline.pipeline import EXPANDERS
from cdc_daemon.pipeline.routing import Route, Router
from cdc_daemon.pipeline.troubled import Troubled
from tests.unit.pipeline.troubles import (
    ALIASES,
    BOTH,
    ORDER,
    USER,
    BlockedAliases,
    Watching,
    partition,
    row,
    until,
    working,
)


async def acknowledged(receipt: Receipt) -> None:
    await until(lambda: receipt.done)


async def test_its_rows_wait_unread_and_all_others_are_written() -> None:
    servers, coalescer = BlockedAliases("users"), Coalescer()
    async with working(servers, coalescer):
        waiting, others = Receipt(lambda: None), Receipt(lambda: None)
        await coalescer.submit([row(USER, f"u{number}") for number in range(50)], waiting)
        await coalescer.submit([row(ORDER, f"o{number}") for number in range(50)], others)
        waiting.release()
        others.release()
        await acknowledged(others)
        await until(lambda: len(coalescer.parked()) == 50)
        assert not waiting.done
        assert {key.table for key in servers.reads} == {ORDER}
        servers.repair()
        await acknowledged(waiting)
    assert len(servers.written) == 100
    flow = coalescer.flow
    assert flow.taken == flow.coalesced + flow.rows + flow.partitions + flow.forgotten


async def test_other_documents_of_the_same_rows_are_written_at_each_change() -> None:
    servers, coalescer = BlockedAliases("blocked"), Coalescer()
    async with working(servers, coalescer):
        receipt = Receipt(lambda: None)
        for change in range(1, 4):
            await coalescer.submit([row(BOTH, "a", change)], receipt)
            await until(lambda: servers.written == [("open", "a")] * change)  # noqa: B023
        await until(lambda: len(coalescer.parked()) == 1)
        receipt.release()
        assert not receipt.done
        servers.repair()
        await acknowledged(receipt)
    assert ("blocked", "a") in servers.written


async def test_who_can_come_again_is_told_and_nothing_stays() -> None:
    servers, coalescer = BlockedAliases("users"), Coalescer()
    async with working(servers, coalescer):
        refused = await hand_over_each(coalescer.submit_background, [row(USER, "u"), row(ORDER, "o")])
        assert list(refused) == [Key(USER, b"u", ())]
        reason = refused[Key(USER, b"u", ())].reason
        assert reason.startswith("users (index users-000001) takes no writes: cluster_block_exception: index [x-1]")
        with pytest.raises(ElasticsearchRefusedError) as raised:
            await hand_over(coalescer.submit_background, [row(USER, "u"), row(ORDER, "o")])
        assert raised.value.where["alias"] == "users"
        await until(lambda: len(coalescer) == 0)
    assert servers.written == [("orders", "o")] * 2


async def test_work_for_another_alias_of_the_same_rows_is_done() -> None:
    servers, coalescer = BlockedAliases("blocked"), Coalescer()
    async with working(servers, coalescer):
        await hand_over(coalescer.submit_background, [row(BOTH, "a")], alias="open")
        with pytest.raises(ElasticsearchRefusedError):
            await hand_over(coalescer.submit_background, [row(BOTH, "a")], alias="blocked")


async def test_a_line_for_one_alias_ends_where_something_was_refused() -> None:
    servers, coalescer = BlockedAliases("users"), Coalescer()
    async with working(servers, coalescer):
        line: AcknowledgementLine[int] = AcknowledgementLine(0, limit=1, alias="users")
        for number in (1, 2, 3):
            receipt = await line.open(number)
            await coalescer.submit_background([row(USER, f"u{number}")], receipt)
            receipt.release()
        await line.wait_empty()
        assert line.refused is not None
        assert line.acknowledged == 0


async def test_who_watches_is_told_at_once() -> None:
    servers, coalescer = BlockedAliases("users", "blocked"), Coalescer()
    async with working(servers, coalescer) as pipeline:
        watch = Watching()
        pipeline.request([row(USER, "u"), row(BOTH, "b"), row(ORDER, "o")], watch)
        await until(lambda: len(watch.refusals) == 2 and bool(watch.done))
        assert watch.done == [Key(ORDER, b"o", ())]
        told = {
            key.table: (set(troubles), [(each.alias, each.outcome) for each in documents])
            for key, troubles, documents in watch.refusals
        }
        assert told == {USER: ({"users"}, []), BOTH: ({"blocked"}, [("open", Outcome.INDEXED)])}
        await until(lambda: len(coalescer) == 0)


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("table", [USER, BOTH])
async def test_its_partitions_hold_up_no_other(table: object, *, closed: bool) -> None:
    assert table in (USER, BOTH)
    blocked = USER if table is USER else BOTH
    servers, coalescer = BlockedAliases("users", "blocked"), Coalescer()
    servers.closed = closed
    async with working(servers, coalescer):
        waiting, others = Receipt(lambda: None), Receipt(lambda: None)
        names = [f"p{number}" for number in range(3 * EXPANDERS)]
        await coalescer.submit([partition(blocked, name) for name in names], waiting)
        await coalescer.submit([partition(ORDER, name) for name in names], others)
        waiting.release()
        others.release()
        await acknowledged(others)
        await until(lambda: len(coalescer.parked()) >= len(names))
        assert not waiting.done
        rows = {f"{name}:{number}" for name in names for number in (1, 2, 3)}
        assert {name for alias, name in servers.written if alias == "orders"} == rows
        if blocked is BOTH:
            assert {name for alias, name in servers.written if alias == "open"} == rows
        servers.closed = False
        servers.repair()
        await acknowledged(waiting)
    assert {name for alias, name in servers.written if alias == ALIASES[blocked][0]} == rows


async def test_a_watched_partition_is_told_too_and_its_worker_is_free() -> None:
    servers, coalescer = BlockedAliases("blocked"), Coalescer()
    async with working(servers, coalescer) as pipeline:
        refused, done = Watching(), Watching()
        pipeline.request([partition(BOTH, "p")], refused)
        pipeline.request([partition(ORDER, "p")], done)
        await until(lambda: Key(ORDER, b"p", None) in done.done)
        await until(lambda: any(key.clustering is None for key, _, _ in refused.refusals))
        await until(lambda: len(coalescer) == 0)


async def test_a_row_that_other_documents_show_is_passed_on_all_the_same() -> None:
    servers, coalescer = BlockedAliases("users"), Coalescer()
    route = Route(ORDER, lambda key: [key], (0,), ())
    router = Router(coalescer, {USER: [route]}, mapped=[USER, ORDER])
    async with working(servers, coalescer, router=router):
        receipt = Receipt(lambda: None)
        await coalescer.submit([row(USER, "u")], receipt)
        receipt.release()
        await until(lambda: servers.written == [("orders", "u")])
        await until(lambda: len(coalescer.parked()) == 1)
        servers.repair()
        await acknowledged(receipt)
    assert servers.written == [("orders", "u"), ("users", "u")]


async def test_a_change_during_the_repair_is_not_left_behind() -> None:
    """The alias accepts writes again between a refusal and the parking of its keys, so nothing would wake them."""
    servers, coalescer = BlockedAliases("blocked"), Coalescer()
    router = Router(coalescer, {}, mapped=[BOTH])

    async def repair_now(_entries: object) -> None:
        servers.repair()

    router.record_changes = repair_now  # type: ignore[method-assign, assignment]
    async with working(servers, coalescer, router=router):
        receipt = Receipt(lambda: None)
        await coalescer.submit([row(BOTH, "a")], receipt)
        receipt.release()
        await acknowledged(receipt)
    assert ("blocked", "a") in servers.written


def test_tables_are_in_trouble_as_a_whole_when_all_their_aliases_are() -> None:
    servers = BlockedAliases("users", "blocked")
    troubled = Troubled(servers, ALIASES)
    assert troubled.tables() == [USER]
    assert set(troubled.all()) == {"users", "blocked"}
    assert set(troubled.of_table(BOTH)) == {"blocked"}
    servers.blocked.add("open")
    assert set(troubled.tables()) == {USER, BOTH}
    servers.repair()
    assert not troubled.any
    assert troubled.tables() == []
    assert not Troubled().any


async def test_what_is_withdrawn_is_parked_no_more() -> None:
    servers, coalescer = BlockedAliases("users"), Coalescer()
    async with working(servers, coalescer):
        receipt = Receipt(lambda: None)
        await coalescer.submit([row(USER, "u")], receipt)
        receipt.release()
        await until(lambda: len(coalescer.parked()) == 1)
        (entry,) = coalescer.unacknowledged()
        entry.give_back(dict(entry.receipts))
        coalescer.withdraw([entry.key])
        assert receipt.done
        assert coalescer.parked() == []
        assert len(coalescer) == 0
        coalescer.unpark()
        await asyncio.sleep(0)
