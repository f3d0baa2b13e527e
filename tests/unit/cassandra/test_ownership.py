"""Each change of a ring is one daemon's, whoever is up, and every daemon knows the same order."""

from __future__ import annotations

import uuid
from functools import partial
from types import SimpleNamespace

import pytest
from cassandra.metadata import KeyspaceMetadata, Metadata
from cassandra.policies import SimpleConvictionPolicy
from cassandra.pool import Host

from cdc_daemon.cassandra.ownership import Ownership

KEYS = [f"key {number}".encode() for number in range(50)]


def find(host: Host) -> Host:
    return host


class Ring:
    """Six nodes of two datacenters as the driver knows them, and an `Ownership` beside each of those that are here."""

    def __init__(self, replicas: int = 3) -> None:
        self.metadata = Metadata()
        self.hosts = []
        for number in range(6):
            host = Host(f"127.0.0.{number + 1}", SimpleConvictionPolicy, host_id=uuid.UUID(int=number))
            host.set_location_info("here" if number % 3 else "there", f"rack{number % 2}")
            host.set_up()
            self.metadata.add_or_return_host(host)
            self.hosts.append(host)
        self.replicate(replicas)
        self.lay()
        session = SimpleNamespace(cluster=SimpleNamespace(metadata=self.metadata))
        self.here = {
            str(host.host_id): Ownership(session, partial(find, host))
            for host in self.hosts
            if host.datacenter == "here"
        }

    def replicate(self, replicas: int) -> None:
        strategy = {"here": str(replicas), "there": "2"}
        self.metadata.keyspaces["k"] = KeyspaceMetadata("k", True, "NetworkTopologyStrategy", strategy)
        if self.metadata.token_map is not None:
            self.metadata.token_map.rebuild_keyspace("k")

    def lay(self) -> None:
        tokens = {
            host: [str(number * 10**17 - 3 * 10**18) for number in range(60) if number % 6 == at]
            for at, host in enumerate(self.hosts)
        }
        self.metadata.rebuild_token_map("org.apache.cassandra.dht.Murmur3Partitioner", tokens)

    def replicas(self, key: bytes) -> list[str]:
        return [str(host.host_id) for host in self.metadata.get_replicas("k", key) if host.datacenter == "here"]

    def actors(self, key: bytes) -> list[str]:
        """Who acts on a change of a key, of those that have it in their log."""
        for owner in self.here.values():
            owner.refresh()
        return [node for node in self.replicas(key) if not before(self.here[node], key)]


def before(owner: Ownership, key: bytes, keyspace: str = "k") -> list[str]:
    """Return the replicas of a key before a node."""
    return list(owner.before(keyspace, owner.token(key)))


@pytest.mark.parametrize("replicas", [1, 2, 3, 4])
def test_one_replica_acts_and_the_others_leave_it_to_that_one(replicas: int) -> None:
    ring = Ring(replicas)
    acting = set()
    for key in KEYS:
        [actor] = ring.actors(key)
        assert actor == ring.replicas(key)[0]
        assert {first for node in ring.replicas(key) for first in before(ring.here[node], key)[:1]} <= {actor}
        acting.add(actor)
    assert acting == set(ring.here)


def test_the_owner_does_not_depend_on_who_is_up() -> None:
    ring = Ring()
    before = [ring.actors(key) for key in KEYS]
    for host in ring.hosts[1:]:
        host.set_down()
    assert [ring.actors(key) for key in KEYS] == before


@pytest.mark.parametrize("replicas", [2, 3, 4])
def test_the_replicas_are_in_one_order_for_all(replicas: int) -> None:
    ring = Ring(replicas)
    for key in KEYS:
        order = ring.replicas(key)
        assert [before(ring.here[node], key) for node in order] == [order[:at] for at in range(len(order))]


def test_another_replication_and_another_ring_are_noticed() -> None:
    ring = Ring(1)
    node = next(iter(ring.here))
    owner = ring.here[node]
    owner.refresh()
    others = [key for key in KEYS if node not in ring.replicas(key)]
    assert others
    assert not any(before(owner, key) for key in others), "what it holds no replica of is acted on"
    ring.replicate(4)
    owner.refresh()
    assert {before(owner, key)[0] for key in others} == {ring.replicas(key)[0] for key in others}
    ring.hosts.reverse()
    ring.lay()
    owner.refresh()
    assert [before(owner, key) for key in KEYS] == [
        ring.replicas(key)[: ring.replicas(key).index(node)] for key in KEYS
    ]


def test_without_tokens_everything_is_this_nodes() -> None:
    ring = Ring()
    ring.metadata.token_map = None
    assert not any(before(owner, key) for owner in ring.here.values() for key in KEYS)
    assert before(ring.here[str(ring.hosts[1].host_id)], b"k", "unknown") == []
