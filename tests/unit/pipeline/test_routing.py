from __future__ import annotations

from typing import Any

import pytest

from cdc_daemon.model.receipt import Receipt
from cdc_daemon.model.signal import Scope, Signal, TableName
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.routing import Router, find_route
from tests.unit.document.tables import table

BASE = TableName("sunbird", "base")
CHILD = TableName("sunbird", "child")
COURSE = table(("tenant", "text", "partition_key"), ("user", "text", "partition_key"), ("course", "text", "clustering"))
VISIT = table(
    ("user", "text", "partition_key"),
    ("tenant", "text", "partition_key"),
    ("course", "text", "clustering"),
    ("day", "date", "clustering"),
    name="child",
)
PAIR = [("user", "user"), ("tenant", "tenant")]


def composite(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(2, "big") + part + b"\0" for part in parts)


@pytest.mark.parametrize(
    ("on", "clustering", "expected"),
    [
        ([*PAIR, ("course", "course")], (b"c", b"day"), (Scope.ROW, (b"c",))),
        ([*PAIR, ("course", "course")], None, (Scope.ROWS, ())),
        (PAIR, (b"c", b"day"), (Scope.ROWS, ())),
    ],
)
def test_a_joined_rows_key_tells_rows_or_their_partition(on: Any, clustering: Any, expected: Any) -> None:
    route = find_route(BASE, COURSE, VISIT, on)
    assert route is not None
    signal = route.signal(composite(b"u", b"t"), clustering, 7)
    scope, told = expected
    assert signal == Signal(BASE, composite(b"t", b"u"), scope, told, passed_on=True, since=7)


@pytest.mark.parametrize("on", [[("user", "user")], [("user", "user"), ("course", "tenant")]])
def test_a_partition_key_that_is_not_told_by_a_partition_key_is_no_route(on: Any) -> None:
    assert find_route(BASE, COURSE, VISIT, on) is None


def child(**times: Any) -> Signal:
    return Signal(CHILD, composite(b"u", b"t"), Scope.ROW, (b"c", b"d"), **times)


def router(coalescer: Coalescer, *mapped: TableName) -> Router:
    route = find_route(BASE, COURSE, VISIT, PAIR)
    assert route is not None
    return Router(coalescer, {CHILD: [route, route]}, mapped=[BASE, *mapped])


async def test_receipts_move_along_once_and_what_was_passed_on_goes_no_further() -> None:
    coalescer = Coalescer()
    done: list[str] = []
    receipts = [Receipt(lambda: done.append("one")), Receipt(lambda: done.append("two"))]
    inner = Receipt(lambda: done.append("inner"), follows=False)
    for receipt in (*receipts, inner):
        coalescer.add(child(written=3), receipt)
        receipt.release()
    (entry,) = await coalescer.take_rows(5)
    made = router(coalescer)
    made.pass_on(entry)
    coalescer.settle(entry)
    assert done == ["inner"]
    target = await coalescer.take_partition()
    assert (target.key.table, target.oldest, target.written, target.search) == (BASE, 3, 0, False)
    assert not made.leads_on(target)
    coalescer.settle(target)
    assert sorted(done) == ["inner", "one", "two"]
    flow = coalescer.flow
    assert flow.taken == flow.coalesced + flow.rows + flow.partitions == 4


@pytest.mark.parametrize(
    ("times", "mapped", "leads"),
    [
        ({}, (), True),
        ({}, (CHILD,), False),
        ({"written": 1}, (CHILD,), True),
        ({"suspected": 1}, (CHILD,), True),
        ({"removed": 1, "passed_on": True}, (CHILD,), False),
    ],
)
async def test_what_leads_on(times: dict[str, Any], mapped: tuple[TableName, ...], leads: bool) -> None:
    coalescer = Coalescer()
    coalescer.add(child(**times), Receipt(lambda: None))
    (entry,) = await coalescer.take_rows(5)
    made = router(coalescer, *mapped)
    assert made.leads_on(entry) is leads
    assert made.is_shown(CHILD) is bool(mapped)
