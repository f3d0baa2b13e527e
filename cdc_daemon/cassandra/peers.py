"""The other nodes of the datacenter, as the driver knows them: a daemon runs beside each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cassandra.cluster import Session


class RingPeers:
    """The nodes of the ring by host id. `find_node` returns the driver's host of the local node."""

    def __init__(self, session: Session, find_node: Callable[[], Any]) -> None:
        self._metadata = session.cluster.metadata
        self._find_node = find_node

    @property
    def own(self) -> str:
        """The host id of the local node."""
        return str(self._find_node().host_id)

    def addresses(self) -> Mapping[str, str]:
        """Return the address of each other node of the own datacenter, whether it is up or not."""
        own = self._find_node()
        return {
            str(host.host_id): host.address
            for host in self._metadata.all_hosts()
            if host.host_id != own.host_id and host.datacenter == own.datacenter
        }
