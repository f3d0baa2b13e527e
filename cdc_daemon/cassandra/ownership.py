"""Which replica's daemon acts on a change, so that a change of a ring is not acted on once for each replica."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from cassandra.cluster import Session
from cassandra.metadata import Murmur3Token


class _Owners(NamedTuple):
    """Of one keyspace: the token that each range ends with, ascending, and the node to which its changes are left."""

    ends: Sequence[int]
    nodes: Sequence[str | None]


class Ownership:
    """Tells of each partition key whether its changes are this node's to act on.

    They are the first live replica's, in the node's own datacenter, in the ring's order: every daemon of the datacenter
    that sees the same nodes up comes to the same answer, without asking anybody. What is not known is this node's: a
    ring without tokens, and a key of which it holds no replica now, as tokens have moved since it was written.

    `find_node` returns the driver's host beside the daemon. What is computed of a keyspace is kept until the ring, the
    keyspace's replication or who is up has changed, which `refresh` looks at.
    """

    def __init__(self, session: Session, find_node: Callable[[], Any]) -> None:
        self._metadata = session.cluster.metadata
        self._find_node = find_node
        self._owners: dict[str, tuple[object, _Owners | None]] = {}
        self._ring: object = None
        self._live: frozenset[str] = frozenset()

    def refresh(self) -> None:
        """Take note of the ring as the driver knows it now."""
        live = frozenset(_name(host) for host in self._metadata.all_hosts() if host.is_up is not False)
        ring = self._metadata.token_map
        if live != self._live or ring is not self._ring:
            self._live, self._ring = live, ring
            self._owners.clear()

    def is_live(self, node: str) -> bool:
        """Whether a node was up at the last `refresh`."""
        return node in self._live

    def left_to(self, keyspace: str, partition_key: bytes) -> str | None:
        """Return the id of the node to which a key's changes are left; None where they are this node's."""
        owners = self._of(keyspace)
        if owners is None:
            return None
        at = bisect_left(owners.ends, Murmur3Token.hash_fn(partition_key))
        return owners.nodes[at % len(owners.nodes)]

    def _of(self, keyspace: str) -> _Owners | None:
        ring = self._metadata.token_map
        if ring is None or not ring.ring:
            return None
        # The driver puts another map in place when a keyspace's replication is altered.
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
