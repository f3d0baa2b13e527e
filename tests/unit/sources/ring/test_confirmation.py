"""Changes left to another daemon keep their receipt until it confirms them, or they are written here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from cdc_daemon.commitlog.key_update import KeyUpdate, RowKey
from cdc_daemon.commitlog.schema import TableMetadata
from cdc_daemon.model.errors import PeerError, PeerLeftError, StoreError
from cdc_daemon.model.receipt import Receipt
from cdc_daemon.model.signal import Signal, TableName
from cdc_daemon.sources.ring.confirmation import (
    AT_ONCE,
    IN_FLIGHT_SECONDS,
    SILENT_SECONDS,
    STORED_SECONDS,
    UNKNOWN_SECONDS,
    Confirmation,
)
from cdc_daemon.sources.ring.division import ChangeDivision
from cdc_daemon.sources.ring.identity import SIZE
from cdc_daemon.sources.ring.left import LeftChange, LeftChanges
from cdc_daemon.sources.ring.owned import ChangeState, OwnedChanges
from tests.simulation.virtual_time import virtual_time

TABLE = TableMetadata(b"t" * 16, "k", "t", partition_key=(), clustering=(), static=(), regular=())


def update(key: str, *, expires: tuple[int, ...] = ()) -> KeyUpdate:
    return KeyUpdate(TABLE, key.encode(), 0, 1, expires, None, False, (RowKey((), deleted=False),), ())


def held(receipt: Receipt) -> bool:
    return not receipt.done


class Order:
    """The key "b:1" has its replicas in the order b, this node; "bc:1" in the order b, c, this node."""

    def refresh(self) -> None:
        pass

    def token(self, partition_key: bytes) -> int:
        return int.from_bytes(partition_key, "big")

    def before(self, keyspace: str, token: int) -> Sequence[str]:
        assert keyspace == "k"
        return list(token.to_bytes(16, "big").lstrip(b"\0").decode().partition(":")[0])


class World:
    """A division and its questions, before a sink that writes at once and peers that answer as told."""

    def __init__(self, *, limit: int = 1000) -> None:
        self.answers: dict[str, ChangeState | None] = {}
        self.asked: list[tuple[str, int]] = []
        self.written: list[str] = []
        self.counts: dict[str, int] = {}
        self.ready = True
        self.full = False
        self.disk_full = False
        self.expiries: list[tuple[str, bytes]] = []
        self.garbage = False
        self.left_ring: set[str] = set()
        self.books = LeftChanges()
        self.owned = OwnedChanges()
        self.division = ChangeDivision(
            Order(),
            owned=self.owned,
            left=self.books,
            observer=self,
            everywhere=[TableName("k", "heartbeat")],
            filling=lambda: self.full,
            limit=limit,
        )
        self.confirmation = Confirmation(
            self.books,
            owned=self.owned,
            peers=self,
            sink=self,
            observer=self,
            keep_expiries=self.keep,
            ready=lambda: self.ready,
            filling=lambda: self.full,
        )

    async def ask(self, node: str, name: str, body: bytes = b"") -> bytes:
        assert name == "changes"
        self.asked.append((node, len(body) // SIZE))
        if node in self.left_ring:
            raise PeerLeftError("left the ring")
        state = self.answers.get(node)
        if state is None:
            await asyncio.sleep(0.1)
            raise PeerError("no answer")
        return b"s" * 16 + bytes([state]) * (len(body) // SIZE + self.garbage)

    async def submit(self, signals: Sequence[Signal], receipt: Receipt) -> None:
        assert held(receipt)
        self.written += [signal.partition_key.decode() for signal in signals]

    async def keep(self, node: str, state_id: bytes, changes: Sequence[LeftChange]) -> None:
        if self.disk_full and changes:
            raise StoreError("the disk is full")
        self.expiries += [(node + state_id[:1].decode(), each.update.partition_key) for each in changes]

    def left(self, count: int) -> None:
        self._count("left", count)

    def confirmed(self, count: int) -> None:
        self._count("confirmed", count)

    def settled_here(self, reason: str, count: int) -> None:
        self._count(reason, count)

    def _count(self, name: str, count: int) -> None:
        if count:
            self.counts[name] = self.counts.get(name, 0) + count

    def read(self, *updates: KeyUpdate) -> Receipt:
        """Read a portion of the log; what this node owns is written at once."""
        receipt = Receipt(lambda: None)
        divided = self.division.divide(updates, range(len(updates)))
        own = divided.accept(receipt)
        self.written += [each.partition_key.decode() for each in divided.own]
        own.release()
        receipt.release()
        return receipt


def in_virtual_time(test: Callable[[World], object]) -> None:
    """Run a test of a world whose questions are being asked."""

    async def run() -> None:
        world = World()
        asking = asyncio.create_task(world.confirmation.run())
        await test(world)  # type: ignore[misc]
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    with virtual_time() as within:
        within(run())


def test_a_confirmed_change_is_released_and_not_written_here() -> None:
    async def test(world: World) -> None:
        world.answers["b"] = ChangeState.SETTLED
        receipt = world.read(update("b:1"), update(":2"))
        assert held(receipt)
        assert len(world.books) == 1
        await asyncio.sleep(1.5)
        assert receipt.done
        assert world.written == [":2"]
        assert world.counts == {"left": 1, "confirmed": 1}
        assert (len(world.books), world.confirmation.age) == (0, 0.0)

    in_virtual_time(test)


@pytest.mark.parametrize(
    ("state", "seconds", "reason"),
    [
        (ChangeState.UNKNOWN, UNKNOWN_SECONDS, "unknown"),
        (ChangeState.IN_FLIGHT, IN_FLIGHT_SECONDS, "in_flight"),
        (ChangeState.STORED, STORED_SECONDS, "stored"),
        (None, SILENT_SECONDS, "no_answer"),
    ],
)
def test_a_change_that_is_not_confirmed_in_time_is_written_here(
    state: ChangeState | None, seconds: float, reason: str
) -> None:
    async def test(world: World) -> None:
        if state is not None:
            world.answers["b"] = state
        receipt = world.read(update("b:1"))
        await asyncio.sleep(seconds - 1)
        assert world.written == []
        assert world.confirmation.age >= seconds - 1
        await asyncio.sleep(4)
        assert world.written == ["b:1"]
        assert receipt.done
        assert world.counts == {"left": 1, reason: 1}
        assert world.confirmation.gone == (frozenset() if state is not None else {"b"})

    in_virtual_time(test)


def test_the_next_replica_is_asked_before_the_last_one_acts() -> None:
    async def test(world: World) -> None:
        world.answers["b"] = ChangeState.UNKNOWN
        world.answers["c"] = ChangeState.SETTLED
        receipt = world.read(update("bc:1"))
        await asyncio.sleep(UNKNOWN_SECONDS + 3)
        assert receipt.done
        assert world.written == []
        world.answers["c"] = ChangeState.UNKNOWN
        receipt = world.read(update("bc:2"))
        await asyncio.sleep(2 * UNKNOWN_SECONDS + 4)
        assert world.written == ["bc:2"]

    in_virtual_time(test)


def test_what_is_taken_over_is_confirmed_to_others() -> None:
    async def test(world: World) -> None:
        world.read(update("b:1"))
        (change,) = world.books.take("b")
        world.books.put_back("b", [change])
        assert world.owned.state(change.identity) is ChangeState.UNKNOWN
        await asyncio.sleep(SILENT_SECONDS + 3)
        assert world.owned.state(change.identity) is ChangeState.SETTLED

    in_virtual_time(test)


def test_a_daemon_that_is_gone_is_asked_whether_it_is_back() -> None:
    async def test(world: World) -> None:
        world.read(update("b:1"))
        await asyncio.sleep(SILENT_SECONDS + 3)
        world.read(update("b:2"))
        await asyncio.sleep(2.5)
        assert world.written == ["b:1", "b:2"], "nobody waits for a daemon that is gone"
        assert world.asked[-1] == ("b", 0)
        world.answers["b"] = ChangeState.SETTLED
        await asyncio.sleep(2.5)
        assert world.confirmation.gone == frozenset()
        world.read(update("b:3"))
        await asyncio.sleep(2.5)
        assert world.counts["confirmed"] == 1

    in_virtual_time(test)


def test_a_node_that_left_the_ring_is_forgotten_once_its_changes_are_written_here() -> None:
    async def test(world: World) -> None:
        receipt = world.read(update("b:1"))
        await asyncio.sleep(1.5)
        world.left_ring.add("b")
        await asyncio.sleep(SILENT_SECONDS + 4)
        assert world.written == ["b:1"]
        assert receipt.done
        assert world.confirmation.gone == frozenset()
        asked = len(world.asked)
        await asyncio.sleep(5)
        assert len(world.asked) == asked, "nobody asks a node that is no more"

    in_virtual_time(test)


def test_while_documents_cannot_be_written_the_owner_has_time() -> None:
    async def test(world: World) -> None:
        world.answers["b"] = ChangeState.IN_FLIGHT
        world.ready = False
        world.read(update("b:1"))
        await asyncio.sleep(5 * IN_FLIGHT_SECONDS)
        assert world.written == []
        world.ready = True
        await asyncio.sleep(IN_FLIGHT_SECONDS + 3)
        assert world.written == ["b:1"]

    in_virtual_time(test)


def test_while_cdc_raw_fills_everything_is_written_here() -> None:
    async def test(world: World) -> None:
        world.answers["b"] = ChangeState.IN_FLIGHT
        receipt = world.read(update("b:1"))
        world.full = True
        world.read(update("b:2"))
        assert world.written == ["b:2"]
        await asyncio.sleep(1.5)
        assert world.written == ["b:2", "b:1"]
        assert receipt.done
        assert world.counts == {"left": 1, "limit": 1, "space": 1}

    in_virtual_time(test)


def test_an_answer_that_does_not_fit_is_none() -> None:
    async def test(world: World) -> None:
        world.answers["b"], world.garbage = ChangeState.SETTLED, True
        receipt = world.read(update("b:1"))
        await asyncio.sleep(3)
        assert held(receipt)

    in_virtual_time(test)


def test_expiries_are_stored_before_the_receipt_is_released() -> None:
    async def test(world: World) -> None:
        world.answers["b"] = ChangeState.SETTLED
        world.disk_full = True
        receipt = world.read(update("b:1", expires=(1_900_000_000,)))
        await asyncio.sleep(3)
        assert held(receipt)
        world.disk_full = False
        await asyncio.sleep(1.5)
        assert receipt.done
        assert world.expiries == [("bs", b"b:1")]

    in_virtual_time(test)


def test_many_changes_are_asked_for_in_several_questions() -> None:
    async def test(world: World) -> None:
        world.division._limit = 3 * AT_ONCE
        world.answers["b"] = ChangeState.SETTLED
        world.read(*(update(f"b:{number}") for number in range(AT_ONCE + 1)))
        await asyncio.sleep(1.5)
        assert world.asked == [("b", AT_ONCE), ("b", 1)]
        assert len(world.books) == 0

    in_virtual_time(test)


async def test_some_changes_are_every_daemons_own() -> None:
    world = World(limit=2)
    heartbeat = TableMetadata(b"h" * 16, "k", "heartbeat", partition_key=(), clustering=(), static=(), regular=())
    world.read(
        update("b:1")._replace(table=heartbeat),
        update("b:3"),
        update("b:4"),
        update("b:5"),
    )
    assert world.written == ["b:1", "b:5"]
    assert world.counts == {"left": 2, "limit": 1}
