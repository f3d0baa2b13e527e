"""The caller that a request is counted for in shared limits: its token's owner, otherwise its address."""

from __future__ import annotations

import ipaddress
from typing import Any

from starlette.requests import Request

from cdc_http.caller import kept_caller

_SITE = 64
"""Bits of an IPv6 address that name a network. The owner of one address has all of them (RFC 4291, 2.5.4)."""


def share_of(request: Request) -> str:
    """Return the name of the caller that the request is counted for.

    Only a token that was found valid is used: otherwise one caller could invent many.
    """
    caller = kept_caller(request)
    if caller is not None:
        return f"token {caller.name}"
    return f"address {network_of(request.client)}"


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
