"""Peers are the other nodes of the own datacenter, whether they are up or not."""

from __future__ import annotations

import uuid
from types import SimpleNamespace

from cassandra.metadata import Metadata
from cassandra.policies import SimpleConvictionPolicy
from cassandra.pool import Host

from cdc_daemon.cassandra.peers import RingPeers


def test_the_other_nodes_of_the_datacenter_are_peers() -> None:
    metadata = Metadata()
    hosts = []
    for number, datacenter in enumerate(["here", "here", "here", "there"]):
        host = Host(f"10.0.0.{number}", SimpleConvictionPolicy, host_id=uuid.UUID(int=number))
        host.set_location_info(datacenter, "rack")
        host.set_up()
        metadata.add_or_return_host(host)
        hosts.append(host)
    hosts[2].set_down()
    peers = RingPeers(SimpleNamespace(cluster=SimpleNamespace(metadata=metadata)), lambda: hosts[0])
    assert peers.own == str(hosts[0].host_id)
    assert peers.addresses() == {str(host.host_id): host.address for host in hosts[1:3]}
