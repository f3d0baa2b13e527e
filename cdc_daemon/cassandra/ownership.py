"""The owner of a change: the first replica of its key in the datacenter, whether that node is up or not."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from cassandra.cluster import Session
from cassandra.metadata import Murmur3Token


class _Order(NamedTuple):
    """The order in one keyspace: the end token of each range, ascending, and the replicas before this node."""

    ends: Sequence[int]
    before: Sequence[Sequence[str]]


class Ownership:
    """Returns for each token the replicas that come before this node, in the node's own datacenter.

    The order is that of the ring, and does not depend on which nodes are up: all daemons of the datacenter that know
    the same ring choose the same owner, without coordination, also for a change that was written earlier. Nothing comes
    before this node if the ring has no tokens, and if no replica of the key is on this node because tokens have moved
    since the write: this node then owns the change.

    `find_node` returns the driver's host of the local node. The order of a keyspace is cached until the ring or the
    keyspace's replication changes, which `refresh` checks.
    """

    def __init__(self, session: Session, find_node: Callable[[], Any]) -> None:
        self._metadata = session.cluster.metadata
        self._find_node = find_node
        self._orders: dict[str, tuple[object, _Order | None]] = {}
        self._ring: object = None

    def refresh(self) -> None:
        """Update the ring from the driver's metadata."""
        ring = self._metadata.token_map
        if ring is not self._ring:
            self._ring = ring
            self._orders.clear()

    def token(self, partition_key: bytes) -> int:
        """Return the token of a key."""
        return int(Murmur3Token.hash_fn(partition_key))

    def before(self, keyspace: str, token: int) -> Sequence[str]:
        """Return the ids of the replicas of a token before this node; none if this node owns its changes."""
        order = self._of(keyspace)
        if order is None:
            return ()
        return order.before[bisect_left(order.ends, token) % len(order.before)]

    def _of(self, keyspace: str) -> _Order | None:
        ring = self._metadata.token_map
        if ring is None or not ring.ring:
            return None
        # The driver replaces the map after a change of a keyspace's replication.
        replication = ring.tokens_to_hosts_by_ks.get(keyspace)
        known = self._orders.get(keyspace)
        if known is None or known[0] is not replication:
            order = self._compute(keyspace, ring)
            known = self._orders[keyspace] = (ring.tokens_to_hosts_by_ks.get(keyspace), order)
        return known[1]

    def _compute(self, keyspace: str, ring: Any) -> _Order | None:
        node = self._find_node()
        own = str(node.host_id)
        found: list[Sequence[str]] = []
        for token in ring.ring:
            replicas = [
                str(host.host_id) for host in ring.get_replicas(keyspace, token) if host.datacenter == node.datacenter
            ]
            found.append(tuple(replicas[: replicas.index(own)]) if own in replicas else ())
        return _Order([token.value for token in ring.ring], found) if any(found) else None
