"""Whether Cassandra answers reads: measured by the daemon's own reads, and by a small probe if there are no reads.

The driver's view of its nodes is not used: a stopped process keeps its connections open, and the driver
considers the node up for a minute.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Sequence

import structlog
from cassandra import RequestValidationException
from cassandra.cluster import Session
from cassandra.query import SimpleStatement

from cdc_daemon.cassandra.query import execute
from cdc_daemon.cassandra.read_plan import quote
from cdc_daemon.cassandra.schema import SchemaSource
from cdc_daemon.model.errors import CassandraRefusedError, CdcError
from cdc_daemon.model.signal import TableName

log = structlog.get_logger(__name__)

PROBE_INTERVAL = 1.0
"""Seconds without an answer after which a probe is sent, and seconds between two probes."""

PROBE_TIMEOUT = 2.0
"""The timeout of a probe in seconds."""

LOST_SECONDS = 4.0
"""Seconds without an answer after which Cassandra counts as unavailable: longer than most garbage-collection pauses."""

_LOST_PROBES = 2
"""The number of consecutive probes that must fail. One failure may be due to a pause of the daemon itself."""

_PROBE_GRACE = 1.0
"""Seconds after its timeout at which a probe fails even if the driver reports nothing, because its thread is dead."""

Probe = Callable[[], Awaitable[None]]
"""Returns when Cassandra has answered a read. Raises the error of a failed read."""


class CassandraAvailability:
    """Cassandra is available while reads or probes are answered.

    It becomes unavailable when nothing was answered for `LOST_SECONDS` and the last `_LOST_PROBES` probes failed. One
    answer, to a read or to a probe, makes it available again. Failed reads are ignored: Cassandra may be unable to read
    one partition and able to read all others.
    """

    def __init__(self, probe: Probe) -> None:
        self.failure: str | None = None
        """Why Cassandra is unavailable; None while it is available."""
        self._probe = probe
        self._answered_at: float | None = None
        self._failed_probes = 0
        self._lost = asyncio.Event()

    def __bool__(self) -> bool:
        return self.failure is None

    def answered(self) -> None:
        """Record that Cassandra has answered a read."""
        now = asyncio.get_running_loop().time()
        if self.failure is not None:
            self.failure = None
            self._lost.clear()
            log.info("cassandra.available", seconds=round(now - (self._answered_at or now), 3))
        self._answered_at = now
        self._failed_probes = 0

    async def wait_lost(self) -> str:
        """Wait until Cassandra is unavailable; return why."""
        while self.failure is None:
            await self._lost.wait()
        return self.failure

    async def run(self) -> None:
        """Probe whenever no read was answered for `PROBE_INTERVAL` seconds, until cancelled."""
        loop = asyncio.get_running_loop()
        if self._answered_at is None:
            self._answered_at = loop.time()
        while True:
            await asyncio.sleep(PROBE_INTERVAL)
            if loop.time() - self._answered_at >= PROBE_INTERVAL:
                await self._probe_once()

    async def _probe_once(self) -> None:
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(PROBE_TIMEOUT + _PROBE_GRACE):
                await self._probe()
        except Exception as error:  # noqa: BLE001 -- whatever the driver raises, it was no answer
            self._note_failed(began, _describe(error))
        else:
            self.answered()

    def _note_failed(self, began: float, reason: str) -> None:
        answered = self._answered_at
        if answered is None or answered > began:
            return  # a read was answered meanwhile
        self._failed_probes += 1
        seconds = asyncio.get_running_loop().time() - answered
        if self._failed_probes < _LOST_PROBES or seconds < LOST_SECONDS:
            return
        was_available = self.failure is None
        self.failure = reason
        if was_available:
            self._lost.set()
            log.warning(
                "cassandra.unavailable",
                error=reason,
                seconds=round(seconds, 3),
                hint="is the node up, and does it answer CQL? Changes wait in cdc_raw until it does",
            )


def _describe(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer for {PROBE_TIMEOUT:g} s"
    if isinstance(error, CdcError):
        return error.message
    return f"{type(error).__name__}: {error}"


def make_probe(session: Session, schema: SchemaSource, tables: Sequence[TableName]) -> Probe:
    """Return a probe that reads a random token of each of `tables` in turn, at the session's consistency.

    The query uses a token instead of a key, so it works for keys of any type. It reads at most one row and
    needs as many replicas as the reads of rows. If there are no tables, it reads `system.local`. A refused query counts
    as an answer, because the node processes queries.
    """
    turns = itertools.cycle(tables) if tables else None

    async def probe() -> None:
        query = "SELECT key FROM system.local" if turns is None else _token_query(schema, next(turns))
        try:
            await execute(session, SimpleStatement(query), timeout=PROBE_TIMEOUT)
        except (CassandraRefusedError, RequestValidationException) as error:
            log.debug("cassandra.probe_refused", query=query, error=str(error))

    return probe


def _token_query(schema: SchemaSource, name: TableName) -> str:
    columns = ", ".join(quote(column.name) for column in schema.known(name).partition_key)
    table = ".".join(map(quote, name))
    token = random.randrange(-(2**63) + 1, 2**63)  # noqa: S311 -- no secret
    return f"SELECT {columns} FROM {table} WHERE token({columns}) = {token} LIMIT 1"  # noqa: S608 -- quoted names
