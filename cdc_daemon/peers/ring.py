"""The peers of this daemon, and questions to all of them at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Protocol

from cdc_daemon.model.errors import PeerError, PeerLeftError
from cdc_daemon.peers.client import PeerClient

AT_ONCE = 16
"""Peers that are asked at once."""


class PeerNodes(Protocol):
    """The other nodes of the datacenter; implemented by `cassandra.peers.RingPeers`."""

    def addresses(self) -> Mapping[str, str]:
        """Return the address of each other node by its host id."""
        ...


class Peers:
    """Asks the daemons beside the other nodes. Without a client (no `peers.port`) no peer answers."""

    def __init__(self, nodes: PeerNodes, client: PeerClient | None) -> None:
        self._nodes = nodes
        self._client = client

    @property
    def asks(self) -> bool:
        """Whether peers can be asked at all."""
        return self._client is not None

    def names(self) -> list[str]:
        """Return the host ids of the other nodes of the datacenter, in order."""
        return sorted(self._nodes.addresses())

    async def ask(self, node: str, name: str, body: bytes = b"") -> bytes:
        """Return the answer of the daemon beside a node. Raises `PeerError`."""
        client, address = self._reach(node, self._nodes.addresses())
        return await client.ask(address, name, body)

    async def ask_all_json(self, name: str) -> Mapping[str, Any]:
        """Ask all peers the same; return by host id the value that each one answered, or the `PeerError`."""
        addresses = self._nodes.addresses()

        async def ask(node: str) -> Any:
            client, address = self._reach(node, addresses)
            return await client.ask_json(address, name)

        return await ask_each(sorted(addresses), ask)

    def _reach(self, node: str, addresses: Mapping[str, str]) -> tuple[PeerClient, str]:
        if self._client is None:
            raise PeerError("expected peers.port, which is not set", hint="set it for all daemons of the ring")
        address = addresses.get(node)
        if address is None:
            raise PeerLeftError("expected a node of the datacenter, found one that has left the ring", peer=node)
        return self._client, address


async def ask_each(names: Iterable[str], ask: Callable[[str], Awaitable[Any]]) -> Mapping[str, Any]:
    """Ask several daemons, some at once; return by name what each one answered, or the `PeerError`."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def ask_one(name: str) -> Any:
        async with turns:
            try:
                return await ask(name)
            except PeerError as error:
                return error

    several = list(names)
    return dict(zip(several, await asyncio.gather(*map(ask_one, several)), strict=True))
