"""Expiries are kept at every replica; the others act on them only if the owner's daemon does not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from cdc_daemon.commitlog.key_update import KeyUpdate, RowKey
from cdc_daemon.commitlog.schema import TableMetadata
from cdc_daemon.model.errors import PeerError
from cdc_daemon.model.reading import Lifetime
from cdc_daemon.model.receipt import Receipt
from cdc_daemon.model.signal import Key, Signal, TableName
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.gate import Gate
from cdc_daemon.sources.ring.expiries import AFTER, LATE, ExpiryAnswers, LeftExpiryWatch
from cdc_daemon.sources.ring.identity import ChangeIdentity
from cdc_daemon.sources.ring.left import LeftChange
from cdc_daemon.store import Store
from cdc_daemon.store.left_expiries import LeftExpiry

TABLE = TableMetadata(b"t" * 16, "k", "t", partition_key=(), clustering=(), static=(), regular=())
KEY = Key(TableName("k", "t"), b"a", ())
START = 1_900_000_000


class World:
    """This daemon's store and the owner's, and the owner's answers."""

    def __init__(self, directory: Path) -> None:
        self.store, self.owner = Store(directory / "here"), Store(directory / "owner")
        self.now = START
        self.answers = True
        self.garbage: bytes | None = None
        self.read: list[Signal] = []
        self.watch = LeftExpiryWatch(
            self.store, peers=self, sink=self, gate=Gate(Coalescer()), now=lambda: float(self.now)
        )

    async def ask(self, node: str, name: str, body: bytes = b"") -> bytes:
        assert (node, name) == ("b", "expiries")
        if not self.answers:
            raise PeerError("no answer")
        return self.garbage or await ExpiryAnswers(self.owner).answer(body)

    async def submit_background(self, signals: Sequence[Signal], receipt: Receipt) -> None:
        assert not receipt.done
        self.read += signals

    async def confirm(self, *expires: int) -> None:
        """Keep the expiry of a change that the owner's daemon has confirmed."""
        update = KeyUpdate(TABLE, b"a", 0, 1, expires, None, False, (RowKey((), deleted=False),), ())
        change = LeftChange(update, ChangeIdentity(1, 2), ["b"], Receipt(lambda: None), 0.0)
        await self.watch.keep("b", self.owner.state_id, [change])

    async def pass_time(self, seconds: int) -> None:
        self.now += seconds
        await self.watch.turn()

    def kept(self) -> list[int]:
        return [each.at for each in self.store.left_expiries.due(2**40, 100)]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.store.close()
    made.owner.close()


async def test_what_the_owners_daemon_has_acted_on_is_forgotten(world: World) -> None:
    await world.confirm(START + 100, START + 200)
    await world.pass_time(100 + AFTER - 1)
    assert world.kept() == [START + 100]
    await world.pass_time(1)
    assert (world.kept(), world.read, world.store.left_expiries.count) == ([], [], 0)


async def test_the_next_expiry_of_the_row_is_known_here_too(world: World) -> None:
    world.owner.expiries.keep([Lifetime(KEY, START + 500, ())])
    await world.confirm(START + 100)
    await world.pass_time(100 + AFTER)
    assert world.kept() == [START + 500]
    world.answers = False
    await world.pass_time(400 + LATE)
    assert [(each.partition_key, each.suspected) for each in world.read] == [(b"a", (START + 500) * 1_000_000)]
    assert world.kept() == []


async def test_an_unknown_moment_is_asked_for(world: World) -> None:
    world.owner.expiries.keep([Lifetime(KEY, START + 500, ())])
    await world.confirm(0)
    await world.pass_time(0)
    assert world.kept() == [START + 500]


async def test_a_daemon_that_is_gone_or_lost_its_state_is_replaced(world: World) -> None:
    await world.confirm(START + 100)
    world.store.left_expiries.keep([LeftExpiry("b", b"another directory", KEY._replace(partition_key=b"z"), START)])
    await world.pass_time(LATE)
    assert [each.partition_key for each in world.read] == [b"z"]
    world.answers = False
    await world.pass_time(100)
    assert [each.partition_key for each in world.read] == [b"z", b"a"]
    assert world.read[-1].expires, "its table is read with the times of its values from now on"


async def test_an_owner_that_is_late_has_a_minute(world: World) -> None:
    world.owner.expiries.keep([Lifetime(KEY, START + 100, ())])
    await world.confirm(START + 100)
    await world.pass_time(100 + AFTER + 1)
    assert (world.kept(), world.read) == ([START + 100], [])
    await world.pass_time(LATE)
    assert (world.kept(), len(world.read)) == ([], 1)


@pytest.mark.parametrize(
    "garbage", [b"", b"{}", b'{"state": "zz", "next": [0]}', b'{"state": "00", "next": []}', b"[1]"]
)
async def test_an_answer_that_is_none_confirms_nothing(world: World, garbage: bytes) -> None:
    world.garbage = garbage or b"\xff"
    await world.confirm(START)
    await world.pass_time(LATE - 1)
    assert world.kept() == [START]


async def test_a_question_that_is_none_is_refused(world: World) -> None:
    for question in (b"", b"{", b"[1]", b'[["k", "t", "zz", "[]"]]', b'[["k", "t"]]'):
        with pytest.raises(ValueError, match="expected rows"):
            await ExpiryAnswers(world.owner).answer(question)


def test_the_state_keeps_its_name_and_its_expiries(world: World, tmp_path: Path) -> None:
    assert world.store.state_id != world.owner.state_id
    assert len(world.store.state_id) == 16
    world.store.left_expiries.keep([LeftExpiry("b", b"s", KEY, 1), LeftExpiry("b", b"s", KEY, 1)])
    name = world.store.state_id
    world.store.close()
    world.store = Store(tmp_path / "here")
    assert world.store.state_id == name
    assert world.store.left_expiries.count == 1
