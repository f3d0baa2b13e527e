"""How long many concurrent large requests for rows block the event loop: the HTTP surface, over a pipeline in memory.

No server takes part: what is measured is the daemon's own work on a request, from its bytes to its answer. Each round
of the loop is measured by the time its thread computes, so that other programs on the machine do not count.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import socket
import time
from collections import deque
from collections.abc import Iterable
from typing import Any, cast

from prometheus_client import CollectorRegistry

from bench.figures import Figures
from cdc_daemon.app import garbage
from cdc_daemon.commitlog.schema import Column, TableMetadata
from cdc_daemon.config import HttpSettings, MappingSettings
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.cql_types import CqlType
from cdc_daemon.model.document_operation import DocumentOutcome, Outcome
from cdc_daemon.model.errors import Trouble
from cdc_daemon.model.signal import Key, Signal, TableName
from cdc_daemon.pipeline.ports import Watch
from cdc_daemon.sources.requests import Refresh, SyncService
from cdc_http import DaemonView, HttpServer, create_app

_BATCH = 100
"""Keys that are settled in one round of the loop."""

_TABLE = TableMetadata(
    b"person",
    "bench",
    "person",
    partition_key=(Column("id", b"id", CqlType("text"), "partition_key", 0),),
    clustering=(),
    static=(),
    regular=(Column("name", b"name", CqlType("text"), "regular"),),
)


def measure(*, requests: int, ids: int, runs: int) -> Figures:
    """Return the longest round of the loop of each run, in milliseconds."""
    garbage.tune()
    return Figures([asyncio.run(_run(requests, ids)) for _ in range(runs)])


async def _run(requests: int, ids: int) -> float:
    server = HttpServer(create_app(_daemon(), HttpSettings(contract="lenient")), host="127.0.0.1", port=0)
    await server.start()
    names = [f"00000000-0000-4000-8000-{number:012}" for number in range(ids)]
    body = json.dumps({"request": {"objectType": "person", "objectIds": names}}).encode()
    callers = multiprocessing.get_context("spawn").Process(target=_call, args=(server.port, body, requests, ids))
    rounds = _Rounds()
    try:
        callers.start()
        rounds.start()
        while callers.is_alive():  # noqa: ASYNC110 -- a process tells of its end in no other way
            await asyncio.sleep(0.05)
    finally:
        longest = rounds.stop()
        await server.stop()
    if callers.exitcode != 0:
        raise RuntimeError("expected each request to be answered with all of its ids")
    return longest * 1e3


def _call(port: int, body: bytes, requests: int, ids: int) -> None:
    """Send all requests at once and read all answers."""
    head = (
        "POST /sync HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(requests)]
    for connection in connections:
        connection.sendall(head + body)
    for connection in connections:
        with connection, connection.makefile("rb") as answer:
            content = answer.read().partition(b"\r\n\r\n")[2]
        assert len(json.loads(content)["result"]["esSyncResponse"]) == ids


class _Rounds:
    """Measures each round of the running loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._longest = 0.0
        self._last = 0.0
        self._handle: asyncio.Handle | None = None

    def start(self) -> None:
        self._last = time.thread_time()
        self._next()

    def stop(self) -> float:
        assert self._handle is not None
        self._handle.cancel()
        return self._longest

    def _next(self) -> None:
        now = time.thread_time()
        self._longest = max(self._longest, now - self._last)
        self._last = now
        self._handle = self._loop.call_soon(self._next)


class _Pipeline:
    """Settles keys in batches, one a round, in the order they came."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Key, Watch]] = deque()

    def request(self, signals: Iterable[Signal], watch: Watch) -> None:
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._settle)
        self._waiting.extend((Key.of(signal), watch) for signal in signals)

    def withdraw(self, keys: Iterable[Key]) -> None:
        assert not list(keys)

    def _settle(self) -> None:
        for _ in range(min(_BATCH, len(self._waiting))):
            key, watch = self._waiting.popleft()
            watch.settled(key, [DocumentOutcome("person", key.partition_key.decode(), Outcome.INDEXED)])
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._settle)


class _Nothing:
    """Healthy servers, without searches."""

    def trouble(self, alias: str) -> Trouble | None:  # noqa: ARG002 -- as the service asks
        return None

    async def wait_unreadable(self) -> str:
        await asyncio.Event().wait()
        raise AssertionError("nothing sets the event")

    def suspicion(self, at_least: float, keys: Any) -> Trouble | None:  # noqa: ARG002 -- as the service asks
        return None

    async def refresh(self, alias: str, when: Refresh) -> None:
        pass


class _Daemon:
    """The parts of a daemon that the HTTP surface needs for requests for rows."""

    node_id = "bench"
    jobs = object()
    range_jobs = indices = control = None

    def __init__(self, sync: SyncService) -> None:
        self.sync = sync
        self.registry = CollectorRegistry()

    def answered(self, route: str, status: int, seconds: float) -> None:
        pass


def _daemon() -> DaemonView:
    settings = MappingSettings(table=TableName("bench", "person"), alias="person")
    service = SyncService(
        _Pipeline(),
        mappings=[DocumentMapping("person", settings, _TABLE)],
        settings={"person": settings},
        refresher=_Nothing(),
        servers=_Nothing(),
    )
    return cast("DaemonView", _Daemon(service))
