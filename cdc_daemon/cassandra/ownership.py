"""The owner of a change: the one replica whose daemon processes it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from cassandra.cluster import Session
from cassandra.metadata import Murmur3Token


class _Owners(NamedTuple):
    """The owners of one keyspace: the end token of each range, ascending, and the node that owns its changes."""

    ends: Sequence[int]
    nodes: Sequence[str | None]


class Ownership:
    """Decides for each partition key whether this node owns its changes.

    The owner is the first live replica in the node's own datacenter, in the ring's order: all daemons of the datacenter
    that see the same nodes up choose the same owner, without coordination. If the owner is unknown, this node owns the
    change. This is so if the ring has no tokens, and if no replica of the key is on this node because tokens have moved
    since the write.

    `find_node` returns the driver's host of the local node. The owners of a keyspace are cached until the ring, the
    keyspace's replication or the set of live nodes changes, which `refresh` checks.
    """

    def __init__(self, session: Session, find_node: Callable[[], Any]) -> None:
        self._metadata = session.cluster.metadata
        self._find_node = find_node
        self._owners: dict[str, tuple[object, _Owners | None]] = {}
        self._ring: object = None
        self._live: frozenset[str] = frozenset()

    def refresh(self) -> None:
        """Update the ring from the driver's metadata."""
        live = frozenset(_name(host) for host in self._metadata.all_hosts() if host.is_up is not False)
        ring = self._metadata.token_map
        if live != self._live or ring is not self._ring:
            self._live, self._ring = live, ring
            self._owners.clear()

    def is_live(self, node: str) -> bool:
        """Return whether a node was up at the last `refresh`."""
        return node in self._live

    def other_owner(self, keyspace: str, partition_key: bytes) -> str | None:
        """Return the id of the node that owns a key's changes; None if this node owns them."""
        owners = self._of(keyspace)
        if owners is None:
            return None
        at = bisect_left(owners.ends, Murmur3Token.hash_fn(partition_key))
        return owners.nodes[at % len(owners.nodes)]

    def _of(self, keyspace: str) -> _Owners | None:
        ring = self._metadata.token_map
        if ring is None or not ring.ring:
            return None
        # The driver replaces the map after a change of a keyspace's replication.
        replication = ring.tokens_to_hosts_by_ks.get(keyspace)
        known = self._owners.get(keyspace)
        if known is None or known[0] is not replication:
            owners = self._compute(keyspace, ring)
            known = self._owners[keyspace] = (ring.tokens_to_hosts_by_ks.get(keyspace), owners)
        return known[1]

    def _compute(self, keyspace: str, ring: Any) -> _Owners | None:
        node = self._find_node()
        own = _name(node)
        found: list[str | None] = []
        for token in ring.ring:
            replicas = [
                _name(host) for host in ring.get_replicas(keyspace, token) if host.datacenter == node.datacenter
            ]
            first = next((each for each in replicas if each == own or each in self._live), own)
            found.append(None if own not in replicas or first == own else first)
        return _Owners([token.value for token in ring.ring], found) if any(found) else None


def _name(host: Any) -> str:
    return str(host.host_id)
