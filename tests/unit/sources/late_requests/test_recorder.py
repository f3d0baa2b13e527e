"""Which results make a document suspect, and that suspects are stored before their keys continue."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cdc_daemon.model.document_operation import Operation, Outcome, RemovalMark, Result
from cdc_daemon.model.errors import StoreError
from cdc_daemon.model.receipt import Receipt
from cdc_daemon.model.signal import Key, Scope, Signal, TableName
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.entry import Entry
from cdc_daemon.sources.late_requests.recorder import SuspectRecorder, Times
from cdc_daemon.store import Store
from cdc_daemon.store.suspects import BrokenOff, Suspect
from tests.unit.pipeline.servers import Servers, processor_of

TABLE = TableName("k", "t")
KEY = Key(TABLE, b"a", ())
TIMES = Times.of(remembered=60.0, limit=960.0)
LOST = Result(Outcome.REREAD, "connection_timeout", status=0, unanswered=True)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path)
    yield made
    made.close()


def judged(result: Result, body: bytes | None = b"{}", document: str = "a") -> list[tuple[Entry, Operation, Result]]:
    return [(Entry(KEY), Operation("users", document, 7, body, 0.0, "r"), result)]


def kept(store: Store) -> list[Suspect]:
    return [row.suspect for row in store.suspects.due(1 << 62, 100)]


class Clock:
    def __init__(self, now: int) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


def recorder_of(store: Store, now: Clock) -> SuspectRecorder:
    return SuspectRecorder(store.suspects, TIMES, bound=500, now=now)


async def test_a_write_without_an_answer_makes_its_document_suspect(store: Store) -> None:
    recorder = recorder_of(store, Clock(1000))
    await recorder.note(judged(LOST))
    assert kept(store) == [Suspect(KEY, "users", "a", "r", 7, 1000)]
    assert store.suspects.due(1000 + 90_000_000 - 1, 10) == []
    assert len(store.suspects.due(1000 + 90_000_000, 10)) == 1


async def test_a_mark_without_an_answer_makes_its_document_suspect_as_it_writes_the_document(store: Store) -> None:
    ((entry, operation, result),) = judged(LOST, None)
    await recorder_of(store, Clock(1000)).note([(entry, replace(operation, mark=RemovalMark("deleted")), result)])
    assert kept(store) == [Suspect(KEY, "users", "a", "r", 7, 1000)]


@pytest.mark.parametrize(
    ("result", "body"),
    [
        (LOST, None),
        (Result(Outcome.INDEXED), b"{}"),
        (Result(Outcome.DELETED), None),
        (Result(Outcome.REREAD, "version_conflict_engine_exception", status=409), b"{}"),
        (Result(Outcome.DEAD, "document_parsing_exception", status=400), b"{}"),
    ],
)
async def test_nothing_else_does(store: Store, result: Result, body: bytes | None) -> None:
    await recorder_of(store, Clock(1000)).note(judged(result, body))
    assert kept(store) == []


@pytest.mark.parametrize("outcome", [Outcome.DELETED, Outcome.FILTERED, Outcome.SUPERSEDED])
async def test_after_a_kill_deletions_are_suspect_while_they_can_be_undone(store: Store, outcome: Outcome) -> None:
    recorder_of(store, Clock(1000))
    now = Clock(2000)
    recorder = recorder_of(store, now)
    await recorder.note(judged(Result(Outcome.INDEXED), document="written"))
    await recorder.note(judged(Result(outcome), None, "deleted"))
    now.now += 900_000_001
    await recorder.note(judged(Result(outcome), None, "deleted later"))
    assert kept(store) == [Suspect(KEY, "users", "deleted", "r", 500, 2000)]


@pytest.mark.parametrize("clean", [True, False])
async def test_a_stop_is_clean_if_no_request_was_broken_off(store: Store, *, clean: bool) -> None:
    recorder = recorder_of(store, Clock(1000))

    async def write() -> None:
        with recorder.writing():
            await asyncio.sleep(0 if clean else 60)

    writing = asyncio.create_task(write())
    await asyncio.sleep(0)
    if clean:
        await writing
    else:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
    recorder.close()
    assert store.suspects.begin(2000, 600) == (BrokenOff(0, 0) if clean else BrokenOff(2000, 600))


class FullStore:
    def __init__(self) -> None:
        self.full = True
        self.added: list[Suspect] = []
        self.ended = 0

    def add(self, suspects: Iterable[Suspect], *, now: int, first: int, last: int) -> None:
        assert now <= now + first <= now + last
        if self.full:
            raise StoreError("the disk is full")
        self.added += suspects

    def begin(self, now: int, bound: int) -> BrokenOff:
        assert now
        assert bound
        return BrokenOff(0, 0)

    def end(self) -> None:
        self.ended += 1


async def test_what_could_not_be_kept_is_kept_by_the_next_call(store: Store) -> None:
    full = FullStore()
    recorder = SuspectRecorder(full, TIMES, bound=500)
    with pytest.raises(StoreError):
        await recorder.note(judged(LOST))
    with pytest.raises(StoreError):
        await recorder.note(judged(Result(Outcome.INDEXED)))
    recorder.close()
    assert full.ended == 0
    full.full = False
    await recorder.note(judged(Result(Outcome.INDEXED)))
    await recorder.note(judged(Result(Outcome.INDEXED)))
    assert [each.document for each in full.added] == ["a"]
    recorder.close()
    assert full.ended == 1
    assert store.suspects.count == 0


class LosingServers(Servers):
    """Loses the first answer; reads `store` when the document is written again."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.suspects_at_write: list[int] = []

    async def write(self, operations: list[Operation]) -> list[Result]:  # type: ignore[override]
        self.suspects_at_write.append(self.store.suspects.count)
        if len(self.suspects_at_write) == 1:
            return [LOST] * len(operations)
        return [Result(Outcome.INDEXED)] * len(operations)


async def test_a_document_is_kept_before_it_is_written_again(store: Store) -> None:
    coalescer = Coalescer()
    servers = LosingServers(store)
    processor = processor_of(servers, coalescer, suspects=recorder_of(store, Clock(1000)))
    coalescer.add(Signal(TABLE, b"a", Scope.ROW), Receipt(lambda: None))
    while not servers.suspects_at_write or len(coalescer):
        await processor.process(await coalescer.take_rows(10))
    assert servers.suspects_at_write == [0, 1]
