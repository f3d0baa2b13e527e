"""The clocks of Cassandra's nodes, compared with this machine's."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from cassandra import DriverException
from cassandra.cluster import Session
from cassandra.query import SimpleStatement

from cdc_daemon.cassandra.node import is_local
from cdc_daemon.cassandra.query import execute
from cdc_daemon.model.errors import CdcError

ASKED = 3
"""Nodes that are asked each time. The clocks of a large ring are compared by turns."""

TIMEOUT = 2.0
"""The timeout of a question in seconds."""

_NOW = "SELECT toTimestamp(now()) AS moment FROM system.local"


async def measure_lead(session: Session, *, asked: int = ASKED) -> list[float]:
    """Return by how many seconds this machine's clock is ahead of some nodes' clocks; negative if it is behind.

    Nodes that do not answer are left out. A node on this machine has the same clock, so other nodes are preferred.
    """
    hosts = [pool.host for pool in session.get_pools() if pool.host.is_up is not False]
    others = [host for host in hosts if not is_local(host.address)]
    chosen = random.sample(others or hosts, min(asked, len(others or hosts)))
    measured = await asyncio.gather(*(_lead_of(session, host) for host in chosen))
    return [each for each in measured if each is not None]


async def _lead_of(session: Session, host: Any) -> float | None:
    began = time.time()
    try:
        rows: Sequence[Any] = await execute(session, SimpleStatement(_NOW), host=host, timeout=TIMEOUT)
    except (CdcError, DriverException):
        return None
    ended = time.time()
    moment = rows[0].moment if rows else None
    if not isinstance(moment, datetime):
        return None
    return (began + ended) / 2 - moment.replace(tzinfo=UTC).timestamp()
