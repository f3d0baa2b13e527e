"""Finds Cassandra again after its nodes got new addresses.

The driver resolves `cassandra.contact_points` only when it connects. Later it uses the addresses of the ring. If all of
them change, as the addresses of re-created pods do, it would try the old ones forever.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

import structlog
from cassandra.cluster import Session
from cassandra.connection import DefaultEndPoint

from cdc_daemon.cassandra.availability import CassandraAvailability
from cdc_daemon.config import CassandraSettings

log = structlog.get_logger(__name__)

PATIENCE_SECONDS = 30.0
"""Seconds without Cassandra after which names are resolved again. The driver finds restarted nodes sooner by itself."""

_AGAIN_SECONDS = 10.0
"""Seconds between two attempts while Cassandra stays unavailable."""


class AddressWatch:
    """Resolves the contact points again when Cassandra has been unavailable for `patience` seconds.

    The session gets a pool for each new address. When the driver has read the ring at one of them, it drops the nodes
    that the ring does not have. Prepared statements stay valid, so nothing else must be built anew.
    """

    def __init__(
        self,
        session: Session,
        settings: CassandraSettings,
        availability: CassandraAvailability,
        *,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._session = session
        self._settings = settings
        self._availability = availability
        self._patience = patience

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await self._availability.wait_lost()
            await asyncio.sleep(self._patience)
            while not self._availability:
                await asyncio.to_thread(self._add_new_addresses)
                await asyncio.sleep(min(self._patience, _AGAIN_SECONDS))

    def _add_new_addresses(self) -> None:
        cluster = self._session.cluster
        known = {(host.endpoint.address, host.endpoint.port) for host in cluster.metadata.all_hosts()}
        port = self._settings.port
        new = [each for each in _resolve(self._settings.contact_points, port) if (each, port) not in known]
        if not new:
            return
        log.warning(
            "cassandra.new_addresses",
            contact_points=list(self._settings.contact_points),
            addresses=new,
            previous=sorted(address for address, _ in known),
        )
        for address in new:
            # The driver itself adds nodes that join the ring in this way. A node that does not answer is tried again.
            try:
                cluster.add_host(DefaultEndPoint(address, port), refresh_nodes=False)
            except Exception as error:  # noqa: BLE001 -- the driver is untyped, and the next attempt may succeed
                log.warning("cassandra.address_failed", address=address, error=f"{type(error).__name__}: {error}")


def _resolve(names: Sequence[str], port: int) -> list[str]:
    """Return the present addresses of names, each once; a name that has none is left out."""
    found: dict[str, None] = {}
    for name in names:
        try:
            answers = socket.getaddrinfo(name, port, socket.AF_UNSPEC, socket.SOCK_STREAM)
        except OSError as error:
            log.debug("cassandra.unresolved", contact_point=name, error=str(error))
            continue
        found.update({str(answer[4][0]): None for answer in answers})
    return list(found)
