"""Connections as bytes on a socket: what comes too slowly, too often or not at all holds none for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from cdc_daemon.config import HttpSettings
from cdc_http import ConnectionLimits, HttpServer, create_app
from cdc_http.connections.protocol import Connection
from tests.unit.http.fake import FakeDaemon
from tests.unit.http.serving import ended

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _hello(_request: Request) -> Response:
    return PlainTextResponse("hello")


async def _echo(request: Request) -> Response:
    return PlainTextResponse(await request.body())


async def _much(_request: Request) -> Response:
    return Response(bytes(64 * 1024 * 1024))


APP = Starlette(routes=[Route("/", _hello), Route("/echo", _echo, methods=["POST"]), Route("/much", _much)])


@asynccontextmanager
async def serving(limits: ConnectionLimits) -> AsyncIterator[Callable[[], Awaitable[Streams]]]:
    server = HttpServer(APP, host="127.0.0.1", port=0, limits=limits)
    await server.start()
    writers: list[asyncio.StreamWriter] = []

    async def connect() -> Streams:
        streams = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
        writers.append(streams[1])
        return streams

    try:
        async with asyncio.timeout(30):
            yield connect
    finally:
        for writer in writers:
            writer.close()
        await server.stop()


async def trickle(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Send a byte at a time for ever, as far as the other side lets us."""
    with suppress(ConnectionError):
        while True:
            for byte in data:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("head", [b"GET / HTTP/1.1\r\nX-Slow: ", b"G", b"POST /echo HTTP/1.1\r\nHost: t"])
async def test_a_head_that_trickles_in_does_not_hold_a_connection(head: bytes) -> None:
    async with serving(ConnectionLimits(head_timeout=0.2)) as connect:
        reader, writer = await connect()
        writer.write(head)
        sending = asyncio.create_task(trickle(writer, b"x"))
        assert (await ended(reader)).startswith(b"HTTP/1.1 408 ")
        sending.cancel()


async def test_the_second_request_of_a_connection_is_bounded_as_well() -> None:
    async with serving(ConnectionLimits(head_timeout=0.2)) as connect:
        reader, writer = await connect()
        writer.write(GET + GET[:10])
        assert await reader.readuntil(b"hello")
        sending = asyncio.create_task(trickle(writer, b"x"))
        assert (await ended(reader)).startswith(b"HTTP/1.1 408 ")
        sending.cancel()


async def test_the_rest_of_a_body_that_nobody_reads_is_bounded() -> None:
    async with serving(ConnectionLimits(head_timeout=0.2)) as connect:
        reader, writer = await connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n")
        sending = asyncio.create_task(trickle(writer, b"x"))
        assert (await ended(reader)).endswith(b"hello")
        sending.cancel()


async def test_a_connection_without_a_request_is_closed() -> None:
    async with serving(ConnectionLimits(idle_timeout=0.1)) as connect:
        reader, _ = await connect()
        assert await ended(reader) == b""


@pytest.mark.slow
async def test_a_connection_that_rests_after_a_request_is_closed() -> None:
    async with serving(ConnectionLimits(idle_timeout=0.1)) as connect:
        reader, writer = await connect()
        writer.write(GET)
        assert (await ended(reader)).endswith(b"hello")


async def test_a_slow_application_and_body_are_not_this_bound_s_business() -> None:
    async with serving(ConnectionLimits(head_timeout=0.1, idle_timeout=0.1)) as connect:
        reader, writer = await connect()
        writer.write(b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\nConnection: close\r\n\r\n")
        for _ in range(4):
            await asyncio.sleep(0.1)
            writer.write(b"x")
        assert (await ended(reader)).endswith(b"xxxx")


async def test_an_answer_that_nobody_reads_does_not_hold_a_connection() -> None:
    async with serving(ConnectionLimits(connections=1, answer_timeout=0.1)) as connect:
        _, writer = await connect()
        writer.write(b"GET /much HTTP/1.1\r\nHost: test\r\n\r\n")
        answer = b""
        async with asyncio.timeout(20):
            while not answer.startswith(b"HTTP/1.1 200"):
                await asyncio.sleep(0.05)
                reader, other = await connect()
                other.write(GET)
                answer = await reader.read(20)


@pytest.mark.parametrize(
    ("junk", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00", b"400"),
        (b"\r\n\r\n", b"400"),
        (b"GET\r\n\r\n", b"400"),
        (b"x" * 20_000, b"431"),
    ],
)
async def test_what_is_no_http_is_refused_at_once(junk: bytes, status: bytes) -> None:
    async with serving(ConnectionLimits(head_timeout=20.0)) as connect:
        reader, writer = await connect()
        writer.write(junk)
        assert (await ended(reader)).startswith(b"HTTP/1.1 " + status)


@pytest.mark.slow
async def test_a_stop_answers_who_is_still_sending(monkeypatch: pytest.MonkeyPatch) -> None:
    """The body does not come, the server waits for as long as it means to, and says why it goes."""
    monkeypatch.setattr("cdc_http.server._STOP_SECONDS", 0.3)
    app = create_app(FakeDaemon(), HttpSettings(contract="lenient"))
    server = HttpServer(app, host="127.0.0.1", port=0)
    await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"POST /sync HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{")
    await asyncio.sleep(0.1)
    async with asyncio.timeout(10):
        await server.stop()
        answer = await ended(reader)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b'"SERVICE_UNAVAILABLE"' in answer
    writer.close()


async def test_a_body_that_is_far_too_large_gets_its_answer_all_the_same() -> None:
    app = create_app(FakeDaemon(), HttpSettings(contract="lenient", max_body=1024 * 1024))
    server = HttpServer(app, host="127.0.0.1", port=0)
    await server.start()
    for length in (10 * 1024 * 1024, 40 * 1024 * 1024):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        head = f"POST /sync HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        writer.write(head.encode())
        if length < 16 * 1024 * 1024:
            writer.write(bytes(length))
            await writer.drain()
        async with asyncio.timeout(30):
            assert (await ended(reader)).startswith(b"HTTP/1.1 413 ")
        writer.close()
    await server.stop()


def test_uvicorn_has_what_the_connection_overrides_and_nothing_that_it_adds() -> None:
    """`H11Protocol` is not documented: a new version may rename its members, or use a private name of ours."""
    overridden = {"handle_events", "send_400_response", "pause_writing", "resume_writing", "on_response_complete"}
    assert overridden <= {*vars(H11Protocol)}
    added = {name for name in vars(Connection) if name.startswith("_") and not name.startswith("__")}
    assert not [name for name in added if hasattr(H11Protocol, name)]
