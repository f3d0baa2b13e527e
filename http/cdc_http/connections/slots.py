"""The limit on a server's connections, and the choice of the one that is closed for a new one.

An idle socket costs its client nothing. So when all slots are taken, a new connection gets the slot of the connection
that has been idle for longest. One address cannot take all slots.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Iterable
from typing import Any, Protocol

_LARGEST_PART_OF_ONE_ADDRESS = 0.75
"""The largest part of the slots that one address may use."""


_SITE = 64
"""Bits of an IPv6 address that name a network. The owner of one address has all of them (RFC 4291, 2.5.4)."""


class SlotHolder(Protocol):
    """A connection. Compared by identity."""

    def give_up_slot(self) -> None:
        """Close the connection; it has no request in progress."""
        ...


class ConnectionSlots:
    """Slots for at most `most` connections."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._max_of_one_address = math.ceil(most * _LARGEST_PART_OF_ONE_ADDRESS)
        self._holders: dict[str, set[SlotHolder]] = {}
        self._idle: dict[str, dict[SlotHolder, None]] = {}
        self._count = 0

    def resize(self, most: int) -> None:
        """Change the number of slots. Connections beyond it stay until they end or are idle and another one comes."""
        self._most = most
        self._max_of_one_address = math.ceil(most * _LARGEST_PART_OF_ONE_ADDRESS)

    def take(self, holder: SlotHolder, address: str) -> bool:
        """Give a connection a slot, if necessary that of an idle one. Return False when there is none."""
        if len(self._holders.get(address, ())) >= self._max_of_one_address:
            candidates: Iterable[str] = [address] if address in self._idle else []
        elif self._count >= self._most:
            candidates = self._idle
        else:
            self._add(holder, address)
            return True
        largest = max(candidates, key=lambda each: len(self._holders[each]), default=None)
        if largest is None:
            return False
        longest_idle = next(iter(self._idle[largest]))
        self.free(longest_idle, largest)
        self._add(holder, address)
        longest_idle.give_up_slot()
        return True

    def free(self, holder: SlotHolder, address: str) -> None:
        """Free the slot of a connection, if it still has one."""
        holders = self._holders.get(address, set())
        if holder not in holders:
            return
        self.mark_busy(holder, address)
        holders.remove(holder)
        self._count -= 1
        if not holders:
            del self._holders[address]

    def mark_idle(self, holder: SlotHolder, address: str) -> None:
        """Record that a connection is idle from now on, unless it was before."""
        if holder in self._holders.get(address, ()):
            self._idle.setdefault(address, {}).setdefault(holder)

    def mark_busy(self, holder: SlotHolder, address: str) -> None:
        """Record that a connection has a request in progress."""
        idle = self._idle.get(address, {})
        idle.pop(holder, None)
        if not idle:
            self._idle.pop(address, None)

    def _add(self, holder: SlotHolder, address: str) -> None:
        self._holders.setdefault(address, set()).add(holder)
        self._count += 1
        self.mark_idle(holder, address)


def network_of(peer: Any) -> str:
    """Return the IPv4 address or the IPv6 network of a peer (host, port), "" when it has none."""
    if not peer:
        return ""
    try:
        address = ipaddress.ip_address(str(peer[0]).partition("%")[0])
    except ValueError:
        return str(peer[0])
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, _SITE), strict=False))
