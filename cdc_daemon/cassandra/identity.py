"""Which node of the ring is the daemon's own, known for certain."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

import structlog
from cassandra import DriverException
from cassandra.cluster import Session
from cassandra.query import SimpleStatement

from cdc_daemon.cassandra.node import is_local
from cdc_daemon.cassandra.query import execute
from cdc_daemon.model.errors import CdcError, ConfigError

log = structlog.get_logger(__name__)

TIMEOUT = 2.0
"""The timeout of the question to a node, in seconds."""


async def identify_node(session: Session, contact_points: Sequence[str], remembered: str | None) -> Any | None:
    """Return the driver's host of the node beside this daemon; None if it is not known for certain.

    Three sources are compared: the addresses of this machine, the id of `system.local` at the node, and the id that the
    state directory has `remembered`, which lies beside the node's files. The first contact point decides among several
    nodes of this machine, and if no node has an address of this machine. A node that is down is known by its address,
    or by what is remembered if its address has changed.

    Raises `ConfigError` if the node is another than the remembered one.
    """
    hosts = list(session.cluster.metadata.all_hosts())
    known = next((host for host in hosts if str(host.host_id) == remembered), None)
    found = await _find(hosts, contact_points, certain=known is not None)
    if found is None:
        return known
    told = await _ask_id(session, found)
    if told is not None and told != str(found.host_id):
        # The driver's view of the ring is older than the node at this address.
        found = next((host for host in hosts if str(host.host_id) == told), None)
    if found is not None and remembered is not None and str(found.host_id) != remembered:
        raise ConfigError(
            f"expected the node {remembered}, to which the state directory belongs, found the node {found.host_id}",
            hint="correct state.directory or the first of cassandra.contact_points; if the node was replaced by a new "
            "one, delete the files in the state directory",
            address=found.address,
        )
    return found


async def _find(hosts: Sequence[Any], contact_points: Sequence[str], *, certain: bool) -> Any | None:
    """Return the node that the addresses show, if they show exactly one."""
    first = await asyncio.to_thread(_resolve, contact_points[0]) if contact_points else frozenset[str]()
    named = [host for host in hosts if first & {host.address, host.endpoint.address}]
    found = [host for host in hosts if is_local(host.address)]
    if len(found) > 1:
        found = [host for host in found if host in named]
    elif not found and not certain:
        found = named  # in another container than the node: the configuration names it
    return found[0] if len(found) == 1 else None


def _resolve(name: str) -> frozenset[str]:
    try:
        return frozenset(str(found[4][0]) for found in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM))
    except OSError:
        return frozenset()


async def _ask_id(session: Session, host: Any) -> str | None:
    """Return the id that a node gives itself, or None if it does not answer."""
    statement = SimpleStatement("SELECT host_id FROM system.local WHERE key = 'local'")
    try:
        rows = await execute(session, statement, host=host, timeout=TIMEOUT)
    except (CdcError, DriverException):
        return None
    return str(rows[0].host_id) if rows else None
