"""The proxy of a torture run does to connections what its way says, and passes them on again afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import pytest

from bench.torture.proxy import CUT_AFTER, FOREIGN, Proxy

ANSWER: Final = b"a" * 5000


class Server:
    """Answers each request of four bytes with the same long answer."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.asked = asyncio.Event()
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(4):
                self.received += piece
                self.asked.set()
                writer.write(ANSWER)
                await writer.drain()
        writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    served = Server()
    listening = await asyncio.start_server(served.serve, "127.0.0.1", 0)
    served.port = listening.sockets[0].getsockname()[1]
    yield served
    listening.close()


@pytest.fixture
async def proxy(server: Server) -> AsyncIterator[Proxy]:
    with Proxy("127.0.0.1", server.port) as found:
        yield found


@asynccontextmanager
async def asked(proxy: Proxy) -> AsyncIterator[asyncio.StreamReader]:
    """Send a request; give the reader of its answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"ping")
    try:
        yield reader
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def assert_passes(proxy: Proxy) -> None:
    async with asked(proxy) as reader:
        assert await reader.readexactly(len(ANSWER)) == ANSWER


@pytest.mark.parametrize("way", ["latency", "reset", "truncate", "hole", "late", "foreign"])
async def test_it_passes_everything_before_and_after(proxy: Proxy, way: str) -> None:
    await assert_passes(proxy)
    proxy.begin(way)
    proxy.end()
    await assert_passes(proxy)


async def test_a_delayed_answer_is_whole(proxy: Proxy) -> None:
    proxy.begin("latency")
    await assert_passes(proxy)


async def test_an_answer_is_cut_in_its_middle(proxy: Proxy) -> None:
    proxy.begin("truncate")
    async with asked(proxy) as reader:
        assert await reader.read() == ANSWER[:CUT_AFTER]
    proxy.begin("reset")
    async with asked(proxy) as reader:
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(len(ANSWER))


async def test_a_hole_swallows_requests_and_leaves_connections_open(proxy: Proxy, server: Server) -> None:
    proxy.begin("hole")
    async with asked(proxy) as reader:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(), 0.3)
        proxy.end()
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
    assert not server.received


async def test_a_late_request_arrives_when_its_sender_has_gone(proxy: Proxy, server: Server) -> None:
    proxy.begin("late")
    async with asked(proxy):
        pass
    assert not server.received
    proxy.end()
    async with asyncio.timeout(60):
        await server.asked.wait()
    assert server.received == b"ping"


async def test_a_foreign_server_answers(proxy: Proxy, server: Server) -> None:
    for number, page in enumerate(FOREIGN):
        proxy.begin("foreign", number / len(FOREIGN) + 0.01)
        async with asked(proxy) as reader:
            assert await reader.read() == page
    assert not server.received
