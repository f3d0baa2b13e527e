"""The drain of the log ends early when this node of Cassandra was stopped before the daemon."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from structlog.testing import capture_logs

from cdc_daemon.app.parts.log import LogPart
from cdc_daemon.cassandra.node import wait_refused
from cdc_daemon.pipeline.gate import Gate
from cdc_daemon.sources.log.quarantine import Quarantine
from cdc_daemon.telemetry.metrics import Metrics


class EndlessTail:
    """A tail whose open changes are never acknowledged."""

    def __init__(self) -> None:
        self.hurried = asyncio.Event()
        self.stops: list[float] = []

    async def stop(self, deadline: float, *, held: bool) -> None:
        assert not held
        self.stops.append(deadline)
        await self.hurried.wait()

    def hurry(self) -> None:
        self.hurried.set()


class Open:
    """A gate that is open."""

    closed = False


def a_part(tail: Any, gone: asyncio.Event, directory: Path) -> LogPart:
    async def node_gone() -> None:
        await gone.wait()

    gate: Gate = Open()  # type: ignore[assignment]
    return LogPart(Metrics(), tail, gate, Quarantine(directory), node_gone=node_gone)


async def test_a_drain_ends_when_the_node_is_gone(tmp_path: Path) -> None:
    tail, gone = EndlessTail(), asyncio.Event()
    part = a_part(tail, gone, tmp_path)
    with capture_logs() as logged:
        draining = asyncio.create_task(part.drain(600))
        await asyncio.sleep(0.02)
        assert not draining.done()
        gone.set()
        await draining
    assert tail.stops == [600]
    assert [line["event"] for line in logged] == ["tail.node_gone"]


async def test_a_drain_beside_a_running_node_ends_by_itself(tmp_path: Path) -> None:
    tail, gone = EndlessTail(), asyncio.Event()
    tail.hurry()
    with capture_logs() as logged:
        await a_part(tail, gone, tmp_path).drain(600)
    assert not logged


async def test_a_node_is_gone_when_its_port_refuses() -> None:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    waiting = asyncio.create_task(wait_refused("127.0.0.1", port, pause=0.01))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    server.close()
    await server.wait_closed()
    await waiting
