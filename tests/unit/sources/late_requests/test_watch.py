"""Suspects are checked until no request can arrive any more; rows of documents written late are read again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from cdc_daemon.model.errors import ElasticsearchUnavailableError
from cdc_daemon.model.receipt import Receipt
from cdc_daemon.model.signal import Key, Signal, TableName
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.gate import Gate
from cdc_daemon.sources.late_requests import watch as watching
from cdc_daemon.sources.late_requests.recorder import Times
from cdc_daemon.sources.late_requests.watch import SuspectWatch
from cdc_daemon.store import Store
from cdc_daemon.store.suspects import Suspect

TABLE, DROPPED = TableName("k", "t"), TableName("k", "dropped")
SECOND = 1_000_000
LOST_AT = 5_000 * SECOND
TIMES = Times.of(remembered=60.0, limit=960.0)


class World:
    """An index whose versions a test sets, and a pipeline that acknowledges at once, or never."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.now = LOST_AT
        self.versions: dict[str, int] = {}
        self.lowered = True
        self.away: set[str] = set()
        self.ready = True
        self.settles = True
        self.looks: list[tuple[int, str]] = []
        self.signals: list[Signal] = []
        self.compared: list[TableName] = []
        self.returned = 0
        self.gate = Gate(Coalescer())
        self.watch = SuspectWatch(
            store.suspects,
            self.look,
            TIMES,
            sink=self,
            gate=self.gate,
            ready=lambda: self.ready,
            tables={TABLE},
            reconcile=self.compare,
            returned=self.count,
            now=lambda: self.now,
        )

    def suspect(self, document: str, alias: str = "users", table: TableName = TABLE) -> None:
        suspect = Suspect(Key(table, document.encode(), ()), alias, document, None, 100, LOST_AT)
        self.store.suspects.add([suspect], now=LOST_AT, first=TIMES.first, last=TIMES.last)

    async def at(self, seconds: float) -> None:
        """Run the turns until so many seconds after the request was lost."""
        until = LOST_AT + int(seconds * SECOND)
        while self.now < until:
            self.now = min(self.now + SECOND, until)
            await self.watch.turn()

    async def look(self, alias: str, suspects: Sequence[Suspect]) -> Sequence[int | None]:
        if alias in self.away:
            raise ElasticsearchUnavailableError("the index is closed")
        self.looks += [((self.now - LOST_AT) // SECOND, each.document) for each in suspects]
        return [self.versions.get(each.document) for each in suspects]

    async def submit_background(self, signals: Sequence[Signal], receipt: Receipt) -> None:
        self.signals += signals
        receipt.hold()
        if self.settles:
            for signal in signals:
                self.versions.pop(signal.partition_key.decode(), None)
            asyncio.get_running_loop().call_soon(receipt.release)

    async def compare(self, table: TableName) -> None:
        self.compared.append(table)

    def count(self, number: int) -> None:
        self.returned += number


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    store = Store(tmp_path)
    yield World(store)
    store.close()


async def test_a_suspect_is_looked_at_ever_more_seldom_and_then_forgotten(world: World) -> None:
    world.suspect("a")
    world.versions["a"] = 101
    await world.at(2000)
    assert [at for at, _ in world.looks] == [90, 180, 360, 720, 960]
    assert world.store.suspects.count == 0
    assert world.signals == []


async def test_a_document_that_was_written_late_is_read_again(world: World) -> None:
    for document in ("late", "gone", "newer"):
        world.suspect(document)
    world.versions = {"late": 100, "newer": 101}
    with capture_logs() as logs:
        await world.at(100)
    assert [(signal.partition_key, signal.written) for signal in world.signals] == [(b"late", 0)]
    assert world.returned == 1
    assert [(line["event"], line["ids"]) for line in logs] == [("suspects.written_late", ["late"])]
    world.versions["late"] = 99  # of a further request: the document is suspect as long as the others
    await world.at(200)
    assert world.returned == 2


async def test_the_last_look_comes_when_elasticsearch_has_been_back_for_a_while(world: World) -> None:
    world.suspect("a")
    world.ready = False
    await world.at(1500)
    assert world.looks == []
    world.ready = True
    await world.at(1599)
    assert [at for at, _ in world.looks] == [1501, 1591]
    assert world.store.suspects.count == 0


async def test_an_index_that_cannot_be_looked_at_holds_up_no_other(world: World) -> None:
    world.suspect("a", alias="closed")
    world.suspect("b")
    world.away = {"closed"}
    await world.at(1000)
    assert {document for _, document in world.looks} == {"b"}
    assert world.store.suspects.count == 1
    world.away.clear()
    await world.at(1100)
    assert world.looks[-1][1] == "a"
    assert world.store.suspects.count == 0


async def test_rows_that_do_not_get_settled_hold_up_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "PATIENCE", 0.01)
    world.suspect("a", alias="blocked")
    world.suspect("b")
    world.versions["a"] = 100
    world.settles = False
    await world.at(1000)
    assert world.returned == 0
    assert [at for at, document in world.looks if document == "b"] == [90, 180, 360, 720, 960]
    assert world.store.suspects.count == 1
    world.settles = True
    await world.at(1100)
    assert world.returned == 1
    assert world.store.suspects.count == 0


async def test_a_paused_daemon_does_not_look(world: World) -> None:
    world.suspect("a")
    world.gate.close()
    await world.at(100)
    assert world.looks == []
    world.gate.open()
    await world.at(101)
    assert world.looks == [(101, "a")]


async def test_a_whole_table_is_compared_at_the_end(world: World) -> None:
    suspect = Suspect(Key(TABLE, b"", ()), "users", "", None, 100, LOST_AT)
    world.store.suspects.add([suspect], now=LOST_AT, first=TIMES.first, last=TIMES.last)
    await world.at(959)
    assert world.compared == []
    await world.at(961)
    assert world.compared == [TABLE]
    assert world.store.suspects.count == 0
    assert world.looks == []


async def test_tables_without_a_mapping_are_forgotten(world: World) -> None:
    world.suspect("a", table=DROPPED)
    await world.at(100)
    assert world.looks == []
    assert world.store.suspects.count == 0


async def test_without_suspects_nothing_is_asked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the store was asked")

    monkeypatch.setattr(world.store.suspects, "due", refuse)
    await world.at(10)
    assert world.looks == []


async def test_a_clock_that_was_set_back_ends_nothing(world: World) -> None:
    world.suspect("a")
    await world.at(400)
    world.now = LOST_AT - 3600 * SECOND
    await world.watch.turn()
    await world.at(2000)
    assert world.store.suspects.count == 0
