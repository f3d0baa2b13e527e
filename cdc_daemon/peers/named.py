"""Daemons that are found by names, because they run beside no node of the ring."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cdc_daemon.peers.client import PeerClient
from cdc_daemon.peers.ring import ask_each


class NamedPeers:
    """Asks every daemon at the addresses to which some names resolve, such as those of a headless service."""

    def __init__(self, names: Sequence[str], client: PeerClient) -> None:
        self._names = names
        self._client = client

    async def ask_all_json(self, question: str) -> Mapping[str, Any]:
        """Return by address what each one answered, or the `PeerError`. The daemon that asks may be among them."""
        addresses = await asyncio.to_thread(resolve, self._names)
        return await ask_each(addresses, lambda address: self._client.ask_json(address, question))


def resolve(names: Iterable[str]) -> list[str]:
    """Return the addresses of names, without duplicates. Blocks."""
    found: set[str] = set()
    for name in names:
        try:
            found.update(str(each[4][0]) for each in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM))
        except OSError:
            continue
    return sorted(found)
