"""A document that Elasticsearch fails on every time is given up, and only such a one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from cdc_daemon.model.document_operation import Operation, Outcome, Result
from cdc_daemon.model.receipt import AcknowledgementLine
from cdc_daemon.model.signal import Key, Scope, Signal, TableName
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.entry import Entry
from cdc_daemon.pipeline.giving_up import SUSPICIOUS, GiveUpPolicy
from cdc_daemon.store.dead_letters import DeadLetter
from tests.unit.pipeline.servers import Servers, processor_of

TABLE = TableName("k", "t")
FAULT = Result(Outcome.REREAD, "null_pointer_exception", "Cannot invoke", status=500)
AWAY = Result(Outcome.REREAD, "unavailable_shards_exception", "no shard", status=503)
CONFLICT = Result(Outcome.REREAD, "version_conflict_engine_exception", "conflict", status=409)


def operation(alias: str = "a") -> Operation:
    return Operation(alias, "1", 1, b"{}", 0.0)


class Hours:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def tries(policy: GiveUpPolicy, hours: Hours, result: Result, *, others: str | None, alias: str = "a") -> int | None:
    """Return at which of forty tries, a minute apart, the document is given up."""
    entry = Entry(Key(TABLE, b"", ()))
    for number in range(1, 41):
        hours.now += 60
        if others is not None:
            policy.note_written(others)
        if policy.gives_up(entry, operation(alias), result):
            return number
    return None


def test_it_is_given_up_after_tries_and_time_while_others_are_taken() -> None:
    hours = Hours()
    assert tries(GiveUpPolicy(attempts=3, seconds=300, now=hours), hours, FAULT, others="a") == 6
    assert tries(GiveUpPolicy(attempts=10, seconds=300, now=hours), hours, FAULT, others="a") == 10


def test_an_elasticsearch_that_fails_altogether_is_no_reason() -> None:
    hours = Hours()
    assert tries(GiveUpPolicy(attempts=3, seconds=300, now=hours), hours, FAULT, others=None) is None


def test_a_broken_alias_is_given_much_longer() -> None:
    hours = Hours()
    assert tries(GiveUpPolicy(attempts=3, seconds=300, now=hours), hours, FAULT, others="b") == 31


def test_what_passes_by_itself_is_no_fault_of_the_document() -> None:
    hours = Hours()
    for result in (AWAY, CONFLICT):
        assert tries(GiveUpPolicy(attempts=1, seconds=0, now=hours), hours, result, others="a") is None


class SpoilingServers(Servers):
    """An Elasticsearch that fails on any request with a certain document in it."""

    def __init__(self) -> None:
        self.requests: list[int] = []
        self.letters: list[DeadLetter] = []

    async def write(self, operations: Sequence[Operation]) -> list[Result]:
        self.requests.append(len(operations))
        spoilt = any(operation.id == "bad" for operation in operations)
        return [FAULT if spoilt else Result(Outcome.INDEXED)] * len(operations)


async def test_one_poisonous_document_holds_no_checkpoint() -> None:
    servers = SpoilingServers()
    coalescer = Coalescer()
    processor = processor_of(
        servers,
        coalescer,
        set_aside=servers.letters.extend,
        policy=GiveUpPolicy(attempts=SUSPICIOUS + 1, seconds=0.01),
    )
    line: AcknowledgementLine[int] = AcknowledgementLine(0)
    receipt = await line.open(1)
    await coalescer.submit([Signal(TABLE, key, Scope.ROW) for key in (b"bad", b"good", b"fine")], receipt)
    async with asyncio.timeout(60):
        while not servers.letters:
            coalescer.add(Signal(TABLE, b"wanted", Scope.ROW), receipt)
            await processor.process(await coalescer.take_rows(10))
        receipt.release()
        while len(coalescer):
            await processor.process(await coalescer.take_rows(10))
    assert line.acknowledged == 1
    assert [(letter.reason, letter.partition_key) for letter in servers.letters] == [("null_pointer_exception", b"bad")]
    assert servers.requests.count(1) >= 2  # the suspicious ones went alone
