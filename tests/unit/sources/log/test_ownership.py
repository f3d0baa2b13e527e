"""Changes owned by another node are left to it, and taken over if that node goes down soon after."""

from __future__ import annotations

from collections.abc import Sequence

from cdc_daemon.model.receipt import Receipt
from cdc_daemon.model.signal import Scope, Signal, TableName
from cdc_daemon.sources.log.ownership import REMEMBERED_SECONDS, OwnershipFilter
from cdc_daemon.store.reconcile_requests import ReconcileReason, ReconcileRequest

TABLE, EVERYWHERE = TableName("k", "t"), TableName("k", "heartbeat")


class Owners:
    """A key that begins with a node's name is owned by that node; all others are owned by this one."""

    def __init__(self) -> None:
        self.down: set[str] = set()

    def refresh(self) -> None:
        pass

    def is_live(self, node: str) -> bool:
        return node not in self.down

    def other_owner(self, keyspace: str, partition_key: bytes) -> str | None:
        assert keyspace == "k"
        node = partition_key.decode().partition(":")[0]
        return node if node and node not in self.down else None


class World:
    """The surroundings of `OwnershipFilter`: a sink that acknowledges at once, recorded requests, and a clock."""

    def __init__(self, limit: int = 100) -> None:
        self.owners = Owners()
        self.taken: list[bytes] = []
        self.requests: list[ReconcileRequest] = []
        self.left = self.taken_over = 0
        self.time = 1000.0
        self.signals = OwnershipFilter(
            self,
            self.owners,
            requests=self,
            everywhere=[EVERYWHERE],
            left=self.count_left,
            taken_over=self.count_taken_over,
            limit=limit,
            now=lambda: self.time,
        )

    def count_left(self, count: int) -> None:
        self.left += count

    def count_taken_over(self, count: int) -> None:
        self.taken_over += count

    def add(self, requests: Sequence[ReconcileRequest]) -> None:
        self.requests += requests

    async def submit(self, signals: Sequence[Signal], receipt: Receipt) -> None:
        assert signals
        assert not receipt.done
        self.taken += [signal.partition_key for signal in signals]

    async def read(self, *keys: str, table: TableName = TABLE) -> None:
        """Submit changes as read from the log; their receipt is released when each is passed on or left."""
        receipt = Receipt(lambda: None)
        await self.signals.submit([Signal(table, key.encode(), Scope.ROW) for key in keys], receipt)
        receipt.release()
        assert receipt.done


async def test_own_changes_are_handed_on_and_others_left() -> None:
    world = World()
    await world.read("", "b:1", ":2", "c:1")
    await world.read("b:2")
    await world.read("b:3", table=EVERYWHERE)
    await world.signals.take_over()
    assert world.taken == [b"", b":2", b"b:3"]
    assert (world.left, world.taken_over, world.requests) == (3, 0, [])


async def test_what_was_left_to_a_node_that_goes_down_is_acted_on_once() -> None:
    world = World()
    await world.read("b:old")
    world.time += REMEMBERED_SECONDS + 1
    await world.read("b:1", "c:1", "b:2")
    world.owners.down.add("b")
    await world.signals.take_over()
    await world.signals.take_over()
    await world.read("b:3")
    assert world.taken == [b"b:1", b"b:2", b"b:3"]
    assert (world.left, world.taken_over, world.requests) == (4, 2, [])
    world.owners.down.add("c")
    await world.signals.take_over()
    assert world.taken[3:] == [b"c:1"]


async def test_more_than_is_kept_in_mind_is_reconciled() -> None:
    world = World(limit=2)
    await world.read("b:1", "c:1", "c:2", "c:3")
    await world.signals.take_over()
    assert world.requests == []
    world.owners.down.add("b")
    await world.signals.take_over()
    await world.signals.take_over()
    assert [request.reason for request in world.requests] == [ReconcileReason.REPLICA_DOWN]
    assert world.taken == []
    world.time += REMEMBERED_SECONDS + 1
    world.owners.down.add("c")
    await world.signals.take_over()
    assert len(world.requests) == 1, "what was left that long ago is settled"
