from __future__ import annotations

import asyncio
import logging
import signal
import socket

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from cdc_daemon.model.errors import ConfigError
from cdc_http import HttpServer


async def _hello(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


def _server(port: int = 0, host: str = "127.0.0.1") -> HttpServer:
    return HttpServer(Starlette(routes=[Route("/", _hello)]), host=host, port=port)


async def _get(port: int, host: str = "127.0.0.1") -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_serves_from_start_to_stop() -> None:
    server = _server()
    await server.start()
    try:
        assert server.port > 0
        answer = await _get(server.port)
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert answer.endswith(b"hello")
        assert b"uvicorn" not in answer
    finally:
        await server.stop()
    with pytest.raises(ConnectionRefusedError):
        await _get(server.port)


async def test_an_answer_waits_for_no_acknowledgement_of_its_head() -> None:
    server = _server()
    await server.start()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        await reader.readuntil(b"hello")
        (connection,) = server._server.server_state.connections
        accepted = connection.transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        writer.close()
        await writer.wait_closed()
    finally:
        await server.stop()


async def test_leaves_signals_alone() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    server = _server()
    await server.start()
    try:
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
    finally:
        await server.stop()


async def test_a_taken_port_is_told_clearly() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match="another process listens there") as caught:
            await _server(port).start()
    assert caught.value.hint is not None
    assert "http.port" in caught.value.hint
    assert caught.value.where == {"host": "127.0.0.1", "port": port}


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
async def test_an_address_that_is_not_ours_is_told_clearly(host: str) -> None:
    with pytest.raises(ConfigError, match="expected an address to listen on") as caught:
        await _server(host=host).start()
    assert caught.value.hint is not None


async def test_a_port_may_be_listened_on_again_at_once() -> None:
    first = _server()
    await first.start()
    port = first.port
    await _get(port)
    await first.stop()
    second = _server(port)
    await second.start()
    assert second.port == port
    await second.stop()


async def test_stop_without_start_does_nothing(caplog: pytest.LogCaptureFixture) -> None:
    await _server().stop()
    assert caplog.records == []


async def test_an_idle_connection_does_not_hold_up_the_stop() -> None:
    server = _server()
    await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    async with asyncio.timeout(4):
        await server.stop()
        assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def test_a_request_that_a_stop_interrupts_is_answered_and_no_error(caplog: pytest.LogCaptureFixture) -> None:
    reached = asyncio.Event()

    async def hang(_request: Request) -> PlainTextResponse:
        reached.set()
        await asyncio.Event().wait()
        raise AssertionError

    server = HttpServer(Starlette(routes=[Route("/", hang)]), host="127.0.0.1", port=0, stop_seconds=0.01)
    await server.start()
    waiting = asyncio.create_task(_get(server.port))
    await reached.wait()
    await server.stop()
    answer = await waiting
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 5" in answer.lower()
    assert answer.rstrip().endswith(b'{"error":"The daemon is stopping."}')
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_request_that_ends_in_time_is_not_interrupted() -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_request: Request) -> PlainTextResponse:
        reached.set()
        await go_on.wait()
        return PlainTextResponse("hello")

    server = HttpServer(Starlette(routes=[Route("/", slow)]), host="127.0.0.1", port=0)
    await server.start()
    waiting = asyncio.create_task(_get(server.port))
    await reached.wait()
    stopping = asyncio.create_task(server.stop())
    await asyncio.sleep(0)
    go_on.set()
    await stopping
    assert (await waiting).startswith(b"HTTP/1.1 200 OK")
