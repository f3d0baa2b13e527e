"""The part that asks the daemons beside the other nodes of the ring."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Self

from cdc_daemon.app.part import Context, Part
from cdc_daemon.app.parts.cassandra import CassandraPart
from cdc_daemon.cassandra.node import find_node
from cdc_daemon.cassandra.peers import RingPeers
from cdc_daemon.peers.client import PeerClient
from cdc_daemon.peers.named import NamedPeers
from cdc_daemon.peers.ring import Peers


class PeersPart(Part):
    """Knows the other daemons of the datacenter, and asks them. `app/serving.py` answers their questions."""

    name = "peers"

    def __init__(self, peers: Peers, named: NamedPeers | None) -> None:
        self.peers = peers
        self._named = named

    @property
    def asks(self) -> bool:
        """Whether other daemons can be asked at all."""
        return self.peers.asks

    async def ask_all_json(self, question: str) -> Mapping[str, Any]:
        """Ask all other daemons; return by name what each one answered, or the `PeerError`.

        They run beside the other nodes, or at `peers.addresses`; this daemon itself may be among the latter.
        """
        if self._named is not None:
            return await self._named.ask_all_json(question)
        return await self.peers.ask_all_json(question)

    @classmethod
    @asynccontextmanager
    async def open(cls, context: Context, cassandra: CassandraPart) -> AsyncIterator[Self]:
        """Open the part during a block."""
        settings, session = context.settings, cassandra.session
        contact_points = settings.cassandra.contact_points
        async with AsyncExitStack() as stack:
            client = named = None
            if settings.peers.port is not None and settings.peers.token is not None:
                client = PeerClient(settings.peers.token.get_secret_value(), settings.peers.port)
                await stack.enter_async_context(client)
                if settings.peers.addresses:
                    named = NamedPeers(settings.peers.addresses, client)
            nodes = RingPeers(session, lambda: find_node(session, contact_points))
            yield cls(Peers(nodes, client), named)
