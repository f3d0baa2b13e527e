"""Divides the changes in this node's log: its daemon writes its own, and leaves the others to their owners."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from cdc_daemon.commitlog.key_update import KeyUpdate
from cdc_daemon.model.receipt import Receipt
from cdc_daemon.model.signal import TableName
from cdc_daemon.sources.ring.identity import ChangeIdentity, identity_of
from cdc_daemon.sources.ring.left import LeftChange, LeftChanges
from cdc_daemon.sources.ring.owned import OwnedChanges

LIMIT = 100_000
"""The most changes that are left to others at a time. Further ones are written here at once."""


class ReplicaOrder(Protocol):
    """The replicas of a key in the ring's order; implemented by `cassandra.ownership.Ownership`."""

    def refresh(self) -> None:
        """Update to the current ring."""
        ...

    def token(self, partition_key: bytes) -> int:
        """Return the token of a key."""
        ...

    def before(self, keyspace: str, token: int) -> Sequence[str]:
        """Return the replicas of a token before this node; none if this node owns it."""
        ...


class DivisionObserver(Protocol):
    """Observes changes that are left to others."""

    def left(self, count: int) -> None:
        """Count changes that were left to other daemons."""
        ...

    def confirmed(self, count: int) -> None:
        """Count changes that their owner's daemon has written."""
        ...

    def settled_here(self, reason: str, count: int) -> None:
        """Count other daemons' changes that are written here, by reason."""
        ...


class DividedPortion:
    """A portion of the log: this node's own updates, and those that are left to others."""

    def __init__(
        self,
        own: Sequence[KeyUpdate],
        identities: Sequence[ChangeIdentity],
        left: Sequence[tuple[KeyUpdate, ChangeIdentity, Sequence[str]]],
        division: ChangeDivision,
    ) -> None:
        self.own = own
        self._identities = identities
        self._left = left
        self._division = division

    @property
    def left(self) -> list[KeyUpdate]:
        """The updates that are left to others."""
        return [update for update, _, _ in self._left]

    def accept(self, receipt: Receipt) -> Receipt:
        """Keep the updates that are left to others; return the receipt for the own ones, held once for the caller.

        `receipt` is that of the whole portion. It is held until both are written.
        """
        return self._division.accept(receipt, self._identities, self._left)


class ChangeDivision:
    """Divides changes by the ring alone: the owner of a key is its first replica, whether it is up or not.

    Changes of tables in `everywhere`, and changes beyond `limit`, are this daemon's own. While `filling` is true,
    because cdc_raw must be emptied, nothing is left to others.
    """

    def __init__(
        self,
        order: ReplicaOrder,
        *,
        owned: OwnedChanges,
        left: LeftChanges,
        observer: DivisionObserver,
        everywhere: Collection[TableName] = (),
        filling: Callable[[], bool] = lambda: False,
        limit: int = LIMIT,
    ) -> None:
        self._order = order
        self._owned = owned
        self._left = left
        self._observer = observer
        self._everywhere = frozenset(everywhere)
        self._filling = filling
        self._limit = limit

    def divide(self, updates: Sequence[KeyUpdate], checksums: Sequence[int]) -> DividedPortion:
        """Divide the updates of a portion, given with the checksum of each one's entry."""
        order, everywhere = self._order, self._everywhere
        order.refresh()
        room = 0 if self._filling() else self._limit - len(self._left)
        own: list[KeyUpdate] = []
        identities: list[ChangeIdentity] = []
        left: list[tuple[KeyUpdate, ChangeIdentity, Sequence[str]]] = []
        beyond = 0
        for update, checksum in zip(updates, checksums, strict=True):
            table = update.table
            token = order.token(update.partition_key)
            identity = identity_of(table.id, token, update.timestamp, checksum)
            nodes = order.before(table.keyspace, token)
            if nodes and (table.keyspace, table.name) not in everywhere:
                if len(left) < room:
                    left.append((update, identity, nodes))
                    continue
                beyond += 1
            own.append(update)
            identities.append(identity)
        if beyond:
            self._observer.settled_here("limit", beyond)
        return DividedPortion(own, identities, left, self)

    def accept(
        self,
        receipt: Receipt,
        identities: Sequence[ChangeIdentity],
        left: Sequence[tuple[KeyUpdate, ChangeIdentity, Sequence[str]]],
    ) -> Receipt:
        """See `DividedPortion.accept`."""
        if left:
            now = asyncio.get_running_loop().time()
            self._left.add([LeftChange(update, identity, nodes, receipt, now) for update, identity, nodes in left])
            self._observer.left(len(left))
        receipt.hold()
        return self._owned.open(identities, receipt.release)
