"""Each change of a ring is one daemon's, whoever is up, and every daemon says the same of it."""

from __future__ import annotations

import uuid
from functools import partial
from types import SimpleNamespace

import pytest
from cassandra.metadata import KeyspaceMetadata, Metadata
from cassandra.policies import SimpleConvictionPolicy
from cassandra.pool import Host
from hypothesis import given
from hypothesis import strategies as st

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
        return [node for node in self.replicas(key) if self.here[node].other_owner("k", key) is None]


@pytest.mark.parametrize("replicas", [1, 2, 3, 4])
def test_one_replica_acts_and_the_others_leave_it_to_that_one(replicas: int) -> None:
    ring = Ring(replicas)
    acting = set()
    for key in KEYS:
        [actor] = ring.actors(key)
        assert actor == ring.replicas(key)[0]
        assert {ring.here[node].other_owner("k", key) for node in ring.replicas(key)} <= {None, actor}
        acting.add(actor)
    assert acting == set(ring.here)


@given(st.sets(st.integers(0, 5)))
def test_of_those_that_are_up_one_acts(down: set[int]) -> None:
    ring = Ring()
    for number in down:
        ring.hosts[number].set_down()
    dead = {str(ring.hosts[number].host_id) for number in down}
    for key in KEYS[:10]:
        live = [node for node in ring.replicas(key) if node not in dead]
        assert [node for node in ring.actors(key) if node not in dead] == live[:1]
        assert all(ring.here[node].is_live(node) == (node not in dead) for node in ring.here)


def test_another_replication_and_another_ring_are_noticed() -> None:
    ring = Ring(1)
    node = next(iter(ring.here))
    owner = ring.here[node]
    owner.refresh()
    others = [key for key in KEYS if node not in ring.replicas(key)]
    assert others
    assert {owner.other_owner("k", key) for key in others} == {None}, "what it holds no replica of is acted on"
    ring.replicate(4)
    owner.refresh()
    assert {owner.other_owner("k", key) for key in others} == {ring.replicas(key)[0] for key in others}
    ring.hosts.reverse()
    ring.lay()
    owner.refresh()
    assert [owner.other_owner("k", key) for key in KEYS] == [
        None if ring.replicas(key)[0] == node else ring.replicas(key)[0] for key in KEYS
    ]


def test_without_tokens_everything_is_this_nodes() -> None:
    ring = Ring()
    ring.metadata.token_map = None
    assert {owner.other_owner("k", key) for owner in ring.here.values() for key in KEYS} == {None}
    assert ring.here[str(ring.hosts[1].host_id)].other_owner("unknown", b"k") is None
