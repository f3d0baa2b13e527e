"""More connections than there is room for, on real sockets: idle ones make place, and probes are always answered."""

from __future__ import annotations

import asyncio

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from cdc_daemon.config import HttpSettings
from cdc_http import ConnectionLimits, create_app
from tests.unit.http.fake import LENIENT, FakeDaemon
from tests.unit.http.serving import Serving, Streams, answered, ended, heading, serving

PROBES = ["/livez", "/readyz", "/metrics"]


def get(path: str, *, close: bool = False) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: t\r\n{'Connection: close' if close else 'X-Y: z'}\r\n\r\n".encode()


@pytest.mark.parametrize("path", PROBES)
async def test_idle_sockets_do_not_starve_a_probe(path: str) -> None:
    async with serving(create_app(FakeDaemon()), ConnectionLimits(connections=512)) as running:
        for _ in range(520):
            await running.connect()
        assert (await running.ask(get(path, close=True))).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("path", PROBES)
async def test_bodies_that_never_end_do_not_starve_a_probe(path: str) -> None:
    """Such connections are not idle, so they keep their places; the reserved ones are for probes alone."""
    async with serving(create_app(FakeDaemon(), LENIENT), ConnectionLimits(connections=4)) as running:
        for _ in range(20):
            _, writer = await running.connect()
            writer.write(heading(1000) + b"{")
            await writer.drain()
        await _answer_of(running, b"HTTP/1.1 503 ", get("/status", close=True))
        answer = await running.ask(get(path))
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close\r\n" in answer


async def test_idle_sockets_cannot_occupy_the_reserved_places() -> None:
    async with serving(create_app(FakeDaemon(), LENIENT), ConnectionLimits(connections=2, reserved=2)) as running:
        for _ in range(2):
            _, writer = await running.connect()
            writer.write(heading(1000) + b"{")
        for _ in range(10):
            await running.connect()
        await _answer_of(running, b"HTTP/1.1 503 ", get("/status", close=True))
        assert (await running.ask(get("/livez"))).startswith(b"HTTP/1.1 200 ")


async def _answer_of(running: Serving, start: bytes, request: bytes) -> None:
    """Ask until the answer begins so: the server has then seen what was sent before."""
    while True:
        if (await running.ask(request)).startswith(start):
            return


class _Echo:
    """An application that counts the requests whose bodies it waits for."""

    def __init__(self) -> None:
        self.waiting = asyncio.Semaphore(0)
        self.app = Starlette(routes=[Route("/", self._hello), Route("/echo", self._echo, methods=["POST"])])

    async def _hello(self, _request: Request) -> Response:
        return PlainTextResponse("hello")

    async def _echo(self, request: Request) -> Response:
        self.waiting.release()
        return PlainTextResponse(await request.body())

    async def occupy(self, running: Serving, source: str | None = None) -> Streams:
        """Open a connection on which a request is worked on."""
        reader, writer = await running.connect(source)
        writer.write(heading(1, path="/echo"))
        await self.waiting.acquire()
        return reader, writer


async def test_no_more_connections_than_may_be() -> None:
    echo = _Echo()
    async with serving(echo.app, ConnectionLimits(connections=2, reserved=0)) as running:
        kept = [await echo.occupy(running) for _ in range(2)]
        answer = await ended((await running.connect())[0])
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1\r\n" in answer
        for reader, writer in kept:
            writer.write(b"x")
            assert (await answered(reader))[2] == b"x"
        # Both are idle now, so the next one takes the place of the first.
        reader, writer = await running.connect()
        writer.write(get("/"))
        assert (await answered(reader))[2] == b"hello"
        assert await ended(kept[0][0]) == b""
        kept[1][1].write(get("/"))
        assert (await answered(kept[1][0]))[2] == b"hello"


async def test_a_head_in_part_is_refused_when_its_place_is_needed() -> None:
    echo = _Echo()
    async with serving(echo.app, ConnectionLimits(connections=2, reserved=0)) as running:
        slow, writer = await running.connect()
        writer.write(get("/")[:10])
        await echo.occupy(running)
        reader, writer = await running.connect()
        writer.write(get("/"))
        assert (await answered(reader))[2] == b"hello"
        assert (await ended(slow)).startswith(b"HTTP/1.1 503 ")


async def test_one_address_leaves_room_for_others() -> None:
    echo = _Echo()
    async with serving(echo.app, ConnectionLimits(connections=4, reserved=0)) as running:
        for _ in range(3):
            await echo.occupy(running)
        assert (await ended((await running.connect())[0])).startswith(b"HTTP/1.1 503 ")
        assert (await running.ask(get("/", close=True), source="127.0.0.2")).endswith(b"hello")


async def test_a_pipelined_request_keeps_its_place() -> None:
    """The connection is never idle between two requests of which the second has come already."""
    echo = _Echo()
    async with serving(echo.app, ConnectionLimits(connections=1, reserved=0)) as running:
        reader, writer = await running.connect()
        writer.write(get("/") + heading(1, path="/echo"))
        assert (await answered(reader))[2] == b"hello"
        await echo.waiting.acquire()
        assert (await ended((await running.connect())[0])).startswith(b"HTTP/1.1 503 ")
        writer.write(b"x")
        assert (await answered(reader))[2] == b"x"


@pytest.mark.parametrize("path", PROBES)
async def test_no_token_is_needed_for_a_probe_on_a_reserved_place(path: str) -> None:
    async with serving(create_app(FakeDaemon(), HttpSettings()), ConnectionLimits(connections=0)) as running:
        assert (await running.ask(get(path))).startswith(b"HTTP/1.1 200 ")
        answer = await running.ask(get("/status"))
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1\r\n" in answer
