"""The daemon's local Cassandra node: how to find it, and its settings as reported by the node."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterable, Mapping
from typing import Any, Self

from cassandra.cluster import Session

_UNITS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "B": 1.0,
    "KiB": 1024.0,
    "MiB": 1024.0**2,
    "GiB": 1024.0**3,
}
"""Units of cassandra.yaml (4.1 and later: DurationSpec, DataStorageSpec) in seconds and bytes."""

_REFUSALS = 3
"""The number of refused connections in a row after which a node counts as stopped."""

_CONNECT_SECONDS = 2.0

_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-zµ]+)")


_OWN = "cdc_daemon_own_node"
"""The attribute of a session with the host of the daemon's own node, once that is certain."""


def remember_node(session: Session, host: Any) -> None:
    """Record the host of the daemon's own node, which `find_node` returns from now on."""
    setattr(session, _OWN, host)


def find_node(session: Session, contact_points: tuple[str, ...]) -> Any:
    """Return the daemon's local node.

    It is the remembered one, also while the ring does not show it. Before that it is a node with an address of this
    machine, contact points first; otherwise the first contact point; otherwise any node.
    """
    hosts = list(session.cluster.metadata.all_hosts())
    if (own := getattr(session, _OWN, None)) is not None:
        return next((host for host in hosts if host.host_id == own.host_id), own)
    named = [host for point in contact_points for host in hosts if point in (host.address, host.endpoint.address)]
    ordered = [*named, *(host for host in hosts if host not in named)]
    return next((host for host in ordered if is_local(host.address)), ordered[0])


def is_local(address: str) -> bool:
    """Return whether an address belongs to this machine: only then can a socket be bound to it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


async def wait_refused(address: str, port: int, *, pause: float = 0.25) -> None:
    """Return when connections to an address are refused several times in a row, because nothing listens there."""
    refused = 0
    while refused < _REFUSALS:
        refused += 1
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                _, writer = await asyncio.open_connection(address, port)
        except ConnectionRefusedError:
            pass
        except (OSError, TimeoutError):
            refused = 0  # perhaps only the network
        else:
            refused = 0
            writer.close()
        await asyncio.sleep(pause)


def moves_segments(release: str | None) -> bool:
    """Return whether a release is older than 4.0: it moves segments to cdc_raw, and links none while it writes them."""
    major = (release or "").partition(".")[0]
    return major.isdigit() and int(major) < 4


class NodeSettings:
    """A node's `system_views.settings` (SettingsTable, 4.0 to 5.0), with the setting names of any version."""

    QUERY = "SELECT name, value FROM system_views.settings"

    @classmethod
    def of_rows(cls, rows: Iterable[Any]) -> Self:
        """Return the settings of the answer to `QUERY`."""
        return cls({row.name: row.value for row in rows})

    def __init__(self, rows: Mapping[str, str | None]) -> None:
        self._rows = rows

    def text(self, *names: str) -> str | None:
        """Return the first value that is set among these settings."""
        for name in names:
            value = self._rows.get(name)
            if value not in (None, "", "null"):
                return value
        return None

    def flag(self, *names: str) -> bool | None:
        """Return a boolean setting; None if the node does not have it."""
        value = self.text(*names)
        return None if value is None else value.lower() == "true"

    def seconds(self, name: str) -> float | None:
        """Return a duration in seconds, also from the number of milliseconds that 4.0 uses."""
        return self._quantity(name, f"{name}_in_ms", 1e-3)

    def size(self, name: str) -> int | None:
        """Return a size in bytes, also from the number of mebibytes that 4.0 uses."""
        found = self._quantity(name, f"{name}_in_mb", 1024.0**2)
        return None if found is None else int(found)

    def _quantity(self, name: str, old_name: str, old_unit: float) -> float | None:
        modern = _QUANTITY.fullmatch(self.text(name) or "")
        if modern is not None and modern[2] in _UNITS:
            return float(modern[1]) * _UNITS[modern[2]]
        try:
            return float(self.text(old_name) or "") * old_unit
        except ValueError:
            return None


def compressor(node: NodeSettings) -> str | None:
    """Return the class that compresses the node's commit log, without its package; None without compression."""
    found = node.text("commitlog_compression.class_name", "commitlog_compression")
    if found is None:
        return None
    # 4.0 and 4.1 may show the whole ParameterizedClass: class_name='LZ4Compressor', parameters=null
    inner = re.search(r"class_name\s*[=:]\s*'?([\w.$]+)", found)
    return (found if inner is None else inner[1]).rpartition(".")[2]


def is_encrypted(node: NodeSettings) -> bool:
    """Return whether the node encrypts its commit log."""
    return bool(node.flag("transparent_data_encryption_options.enabled", "transparent_data_encryption_options_enabled"))
