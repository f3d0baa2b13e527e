"""The limit on a server's connections, and which one is closed when there are too many.

Idle sockets cost nothing to those who open them. So when the room is full, the connection that has been idle for
longest is closed for the next one, and one address cannot use all of the room.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Iterable
from typing import Any, Protocol

_MOST_OF_ONE = 0.75
"""The largest part of the room that one address may use."""


_SITE = 64
"""Bits of an IPv6 address that name a network. The owner of one address has all of them (RFC 4291, 2.5.4)."""


class Guest(Protocol):
    """A connection. Compared by identity."""

    def make_place(self) -> None:
        """Close the connection; it has no request in progress."""
        ...


class Room:
    """Places for at most `most` connections."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._most_of_one = math.ceil(most * _MOST_OF_ONE)
        self._guests: dict[str, set[Guest]] = {}
        self._idle: dict[str, dict[Guest, None]] = {}
        self._count = 0

    def enter(self, guest: Guest, address: str) -> bool:
        """Give a connection a place, if necessary that of an idle one. Return False when there is none."""
        if len(self._guests.get(address, ())) >= self._most_of_one:
            candidates: Iterable[str] = [address] if address in self._idle else []
        elif self._count >= self._most:
            candidates = self._idle
        else:
            self._add(guest, address)
            return True
        largest = max(candidates, key=lambda each: len(self._guests[each]), default=None)
        if largest is None:
            return False
        longest_idle = next(iter(self._idle[largest]))
        self.leave(longest_idle, largest)
        self._add(guest, address)
        longest_idle.make_place()
        return True

    def leave(self, guest: Guest, address: str) -> None:
        """Free the place of a connection, if it still has one."""
        guests = self._guests.get(address, set())
        if guest not in guests:
            return
        self.works(guest, address)
        guests.remove(guest)
        self._count -= 1
        if not guests:
            del self._guests[address]

    def rests(self, guest: Guest, address: str) -> None:
        """Record that a connection is idle from now on, unless it was before."""
        if guest in self._guests.get(address, ()):
            self._idle.setdefault(address, {}).setdefault(guest)

    def works(self, guest: Guest, address: str) -> None:
        """Record that a connection has a request in progress."""
        idle = self._idle.get(address, {})
        idle.pop(guest, None)
        if not idle:
            self._idle.pop(address, None)

    def _add(self, guest: Guest, address: str) -> None:
        self._guests.setdefault(address, set()).add(guest)
        self._count += 1
        self.rests(guest, address)


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
