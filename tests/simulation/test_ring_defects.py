"""The simulation of the ring finds the defects that it is there for: each is planted here, and caught."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

from cdc_daemon.model.errors import PeerError
from cdc_daemon.model.receipt import Receipt
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.sources.log.signals import signals_of
from cdc_daemon.sources.ring.confirmation import Confirmation
from cdc_daemon.sources.ring.division import ChangeDivision
from cdc_daemon.sources.ring.identity import SIZE, ChangeIdentity
from cdc_daemon.sources.ring.left import LeftChange, LeftChanges
from cdc_daemon.sources.ring.owned import ChangeState, OwnedChanges
from tests.simulation.ring import AskedPeers, RingDaemon, RingOrder, World
from tests.simulation.ring_scenarios import calm, equal, stop, stopped_takeovers, trouble, twins
from tests.simulation.virtual_time import virtual_time

MOST_SEEDS = 300


class TrustsGossip(RingDaemon):
    """Takes a change for written because its owner's node is up."""

    def make_confirmation(self, owned: OwnedChanges, left: LeftChanges, coalescer: Coalescer) -> Confirmation:
        class Gossip(AskedPeers):
            async def ask(self, node: str, name: str, body: bytes = b"") -> bytes:
                if self.world.replicas[node].up:
                    return bytes(16) + bytes([ChangeState.SETTLED]) * (len(body) // SIZE)
                return await super().ask(node, name, body)

        peers = Gossip(self.world, self.node)
        return Confirmation(left, owned=owned, peers=peers, sink=coalescer, observer=self.observed)


class Dropping(ChangeDivision):
    def accept(self, receipt: Receipt, identities: Sequence[ChangeIdentity], left: Sequence[Any]) -> Receipt:
        assert left is not None
        return super().accept(receipt, identities, ())


class Drops(RingDaemon):
    """Drops what others own when it reads the log."""

    def make_division(self, owned: OwnedChanges, left: LeftChanges) -> ChangeDivision:
        return Dropping(RingOrder(self.world, self.node), owned=owned, left=left, observer=self.observed)


class DecidesWhenItReads(RingDaemon):
    """Decides who owns a change by the nodes that are up when the log is read, and drops what others own."""

    def make_division(self, owned: OwnedChanges, left: LeftChanges) -> ChangeDivision:
        class LiveOrder(RingOrder):
            def before(self, keyspace: str, token: int) -> Sequence[str]:
                return [node for node in super().before(keyspace, token) if self.world.replicas[node].up]

        return Dropping(LiveOrder(self.world, self.node), owned=owned, left=left, observer=self.observed)


class Forgets(RingDaemon):
    """Remembers what it left to others for a minute, and finds out later that a daemon is gone."""

    def make_left(self) -> LeftChanges:
        class Forgetting(LeftChanges):
            def take(self, node: str) -> list[LeftChange]:
                now = asyncio.get_running_loop().time()
                changes = super().take(node)
                self.settled([each for each in changes if now - each.read_at > 60])
                return [each for each in changes if now - each.read_at <= 60]

        return Forgetting()

    def make_confirmation(self, owned: OwnedChanges, left: LeftChanges, coalescer: Coalescer) -> Confirmation:
        class Slow(Confirmation):
            def _pass_on(self, changes: Sequence[LeftChange], reason: str) -> None:
                """Nobody else acts before gossip has noticed."""
                now = asyncio.get_running_loop().time()
                for each in changes:
                    if now - each.read_at < 75:
                        self._left.put_back(each.nodes[each.step], [each])
                    else:
                        super()._pass_on([each], reason)

        peers = AskedPeers(self.world, self.node)
        return Slow(left, owned=owned, peers=peers, sink=coalescer, observer=self.observed)


class PassesTheCheckpoint(RingDaemon):
    """Lets the checkpoint pass what it left to others."""

    def make_left(self) -> LeftChanges:
        class NotHeld(LeftChanges):
            def add(self, changes: Sequence[LeftChange]) -> None:
                super().add(changes)
                for change in changes:
                    change.receipt.release()
                    change.receipt = Receipt(lambda: None)

        return NotHeld()


class DropsTakeovers(RingDaemon):
    """Acknowledges what it takes over before it is written."""

    def make_confirmation(self, owned: OwnedChanges, left: LeftChanges, coalescer: Coalescer) -> Confirmation:
        class Hasty(Confirmation):
            async def _submit(self, changes: Sequence[LeftChange]) -> None:
                receipt = self._owned.open((each.identity for each in changes), lambda: None)
                self._left.settled(changes)
                await asyncio.sleep(30)  # the pipeline is full
                await self._sink.submit([*signals_of(each.update for each in changes)], receipt)
                receipt.release()

        peers = AskedPeers(self.world, self.node)
        return Hasty(left, owned=owned, peers=peers, sink=coalescer, observer=self.observed)


class WaitsForTheSilent(RingDaemon):
    """Waits for a daemon that hangs, as long as it takes."""

    def make_confirmation(self, owned: OwnedChanges, left: LeftChanges, coalescer: Coalescer) -> Confirmation:
        class Patient(Confirmation):
            def _note_silence(self, node: str, error: PeerError) -> None:
                assert node, error

        peers = AskedPeers(self.world, self.node)
        return Patient(left, owned=owned, peers=peers, sink=coalescer, observer=self.observed)


class DropsTakeoversAtStop(RingDaemon):
    """Forgets at SIGTERM what it is taking over, and acknowledges it."""

    def __init__(self, world: World, node: str) -> None:
        super().__init__(world, node)
        self.under_way: set[LeftChange] = set()

    def make_left(self) -> LeftChanges:
        under_way = self.under_way

        class Tracked(LeftChanges):
            def settled(self, changes: Iterable[LeftChange]) -> None:
                changes = list(changes)
                under_way.difference_update(changes)
                super().settled(changes)

        return Tracked()

    def make_confirmation(self, owned: OwnedChanges, left: LeftChanges, coalescer: Coalescer) -> Confirmation:
        under_way = self.under_way

        class Tracked(Confirmation):
            def _settle_here(self, changes: Sequence[LeftChange], reason: str) -> None:
                under_way.update(changes)
                super()._settle_here(changes, reason)

        peers = AskedPeers(self.world, self.node)
        return Tracked(left, owned=owned, peers=peers, sink=coalescer, observer=self.observed)

    async def terminate(self) -> None:
        for change in self.under_way:
            change.receipt.release()
            change.receipt = Receipt(lambda: None)
        self.under_way.clear()
        await super().terminate()


class ConfirmsByKey(RingDaemon):
    """Confirms a change by any newer change of its key."""

    def make_owned(self) -> OwnedChanges:
        class ByKey(OwnedChanges):
            def open(self, identities: Any, when_done: Any) -> Receipt:
                return super().open([each._replace(mutation=1) for each in identities], when_done)

            def state(self, identity: ChangeIdentity) -> ChangeState:
                return super().state(identity._replace(mutation=1))

        return ByKey(now=asyncio.get_running_loop().time)


class ConfirmsByWriteTime(RingDaemon):
    """Confirms a change by another one of its key with the same write time."""

    def make_owned(self) -> OwnedChanges:
        class ByTime(OwnedChanges):
            def open(self, identities: Any, when_done: Any) -> Receipt:
                return super().open([_without_checksum(each) for each in identities], when_done)

            def state(self, identity: ChangeIdentity) -> ChangeState:
                return super().state(_without_checksum(identity))

        return ByTime(now=asyncio.get_running_loop().time)


def _without_checksum(identity: ChangeIdentity) -> ChangeIdentity:
    return identity._replace(mutation=identity.mutation & 0xFFFF_FFFF)


LOSSES = [
    TrustsGossip,
    Drops,
    DecidesWhenItReads,
    Forgets,
    WaitsForTheSilent,
    PassesTheCheckpoint,
    DropsTakeovers,
    ConfirmsByKey,
]


@pytest.mark.parametrize("defect", LOSSES, ids=lambda each: each.__name__)
def test_a_planted_loss_is_found(defect: type[RingDaemon], record_property: Callable[[str, object], None]) -> None:
    def is_found(seed: int) -> bool:
        with virtual_time() as run:
            return not run(trouble(seed, defect))

    seeds = next((seed + 1 for seed in range(MOST_SEEDS) if is_found(seed)), None)
    record_property("found_within_seeds", seeds)
    sys.stdout.write(f"{defect.__name__}: found within {seeds} seeds\n")
    assert seeds is not None


def test_a_takeover_that_is_dropped_at_a_stop_is_found() -> None:
    with virtual_time() as run:
        assert not run(stopped_takeovers(1, DropsTakeoversAtStop))


def test_a_confirmation_by_write_time_is_found() -> None:
    with virtual_time() as run:
        assert not run(twins(ConfirmsByWriteTime))


class ForgetsWhatItWrote(RingDaemon):
    """Confirms nothing, so that all write everything."""

    def make_owned(self) -> OwnedChanges:
        class Forgetful(OwnedChanges):
            def state(self, identity: ChangeIdentity) -> ChangeState:
                assert identity
                return ChangeState.UNKNOWN

        return Forgetful()


class RewritesAfterRestart(RingDaemon):
    """Reads the whole log again after a restart, and writes all of it itself."""

    begun = False

    def make_division(self, owned: OwnedChanges, left: LeftChanges) -> ChangeDivision:
        class Alone(RingOrder):
            def before(self, keyspace: str, token: int) -> Sequence[str]:
                assert super().before(keyspace, token) is not None
                return ()

        order = Alone(self.world, self.node) if self.begun else RingOrder(self.world, self.node)
        return ChangeDivision(order, owned=owned, left=left, observer=self.observed)

    def start(self) -> None:
        self.saved = 0
        super().start()
        self.begun = True


def test_a_planted_storm_after_a_restart_is_found() -> None:
    with virtual_time() as run:
        world = run(calm(1, RewritesAfterRestart, restart=True))
        assert equal(world)
        assert world.index.written > 1.3 * world.writes
        run(stop(world))


class ConfirmsByCheckpoint(RingDaemon):
    """Confirms what its checkpoint has passed, which waits for the others' confirmations in turn."""

    def make_division(self, owned: OwnedChanges, left: LeftChanges) -> ChangeDivision:
        class Coupled(ChangeDivision):
            def accept(self, receipt: Receipt, identities: Sequence[ChangeIdentity], left: Sequence[Any]) -> Receipt:
                whole = self._owned.open(identities, receipt.release)
                receipt.hold()
                own = super().accept(whole, (), left)
                whole.release()
                return own

        return Coupled(RingOrder(self.world, self.node), owned=owned, left=left, observer=self.observed)


@pytest.mark.parametrize("defect", [ForgetsWhatItWrote, ConfirmsByCheckpoint], ids=lambda each: each.__name__)
def test_a_planted_waste_is_found(defect: type[RingDaemon]) -> None:
    with virtual_time() as run:
        world = run(calm(1, defect, pause=0.0))
        assert equal(world)
        assert any(each.observed.counts.keys() - {"left", "confirmed"} for each in world.daemons.values())
        run(stop(world))
