"""Requests as bytes on a socket that HTTP/1.1 (RFC 9112) wants refused, or wants understood."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import h11
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cdc_http import HttpServer, create_app
from tests.unit.http.fake import LENIENT, FakeDaemon
from tests.unit.http.serving import ended
from tests.unit.model.rounds import Rounds

Send = Callable[[bytes], Awaitable[bytes]]


async def _told(request: Request) -> Response:
    body = await request.body()
    return JSONResponse(
        {"path": request.url.path, "query": request.url.query, "host": request.headers["host"]}
        | ({"body": body.decode()} if body else {})
    )


ECHO = Starlette(routes=[Route("/{path:path}", _told, methods=["GET", "POST"])])


@asynccontextmanager
async def sending(app: Starlette = ECHO) -> AsyncIterator[Send]:
    """Give what sends bytes over a connection of its own and returns all that comes until the server closes it."""
    server = HttpServer(app, host="127.0.0.1", port=0)
    await server.start()

    async def send(data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(data)
        try:
            return await ended(reader)
        finally:
            writer.close()

    try:
        async with asyncio.timeout(30):
            yield send
    finally:
        await server.stop()


def status(answer: bytes) -> int:
    return int(answer.split()[1])


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: t\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: t\r\ntransfer-ENCODING:  Chunked \r\ncontent-LENGTH: 0\r\n\r\n",
        b"POST / HTTP/1.0\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    ],
)
async def test_a_body_of_two_lengths_is_refused_and_nothing_after_it_is_read(head: bytes) -> None:
    async with sending() as send:
        answer = await send(head + b"0\r\n\r\n" + SMUGGLED)
        assert status(answer) == 400
        assert b"connection: close" in answer.lower()
        assert answer.count(b"HTTP/1.1") == 1
        assert b"smuggled" not in answer


async def test_a_transfer_coding_that_is_not_known_is_refused() -> None:
    async with sending() as send:
        assert status(await send(b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip, chunked\r\n\r\n")) == 501


@pytest.mark.parametrize("version", [b"2.0", b"3.0", b"0.9"])
async def test_other_versions_are_refused(version: bytes) -> None:
    async with sending() as send:
        answer = await send(b"GET / HTTP/" + version + b"\r\nHost: t\r\n\r\n" + SMUGGLED)
        assert status(answer) == 505
        assert answer.count(b"HTTP/1.1") == 1


async def test_a_client_that_begins_with_http_2_is_refused() -> None:
    async with sending() as send:
        assert status(await send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")) == 505


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_the_versions_that_are_spoken(version: bytes) -> None:
    async with sending() as send:
        assert status(await send(b"GET / HTTP/" + version + b"\r\nHost: t\r\nConnection: close\r\n\r\n")) == 200


@pytest.mark.parametrize(
    ("target", "path", "query", "host"),
    [
        (b"http://daemon:8080/livez?a=b", "/livez", "a=b", "daemon:8080"),
        (b"HTTP://daemon/x", "/x", "", "daemon"),
        (b"https://[::1]:1/x", "/x", "", "[::1]:1"),
        (b"http://daemon", "/", "", "daemon"),
        (b"http://daemon?q", "/", "q", "daemon"),
        (b"/http://daemon/", "/http://daemon/", "", "other"),
        (b"/a?u=http://daemon/", "/a", "u=http://daemon/", "other"),
    ],
)
async def test_a_target_in_absolute_form_names_path_and_host(target: bytes, path: str, query: str, host: str) -> None:
    async with sending() as send:
        answer = await send(b"GET " + target + b" HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n")
        assert status(answer) == 200
        told = JSONResponse({"path": path, "query": query, "host": host}).body
        assert answer.endswith(bytes(told))


@pytest.mark.parametrize("target", [b"http://", b"http:///x", b"http://user@daemon/x", b"ftp://daemon/x", b"livez"])
async def test_a_target_that_is_none_is_refused(target: bytes) -> None:
    async with sending() as send:
        assert status(await send(b"GET " + target + b" HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n")) == 400


async def test_the_host_of_an_absolute_target_is_the_one_that_counts() -> None:
    """A proxy that goes by the Host header must not get an answer that the target's host may not have."""
    async with sending(create_app(FakeDaemon(), LENIENT)) as send:
        for target, expected in ((b"http://127.0.0.1/status", 200), (b"http://evil.example/status", 400)):
            head = b"GET " + target + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
            assert status(await send(head)) == expected


@pytest.mark.parametrize("filler", [b"X-Long: %b\r\n", b"X-Spaces: a%b\r\n"], ids=["value", "spaces"])
async def test_a_head_of_more_than_16_kilobytes_is_refused_also_when_it_comes_at_once(filler: bytes) -> None:
    async with sending() as send:
        for size, expected in ((15 * 1024, 200), (17 * 1024, 431), (60 * 1024, 431)):
            long = filler % ((b" " if b"Spaces" in filler else b"x") * size)
            head = b"GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n" + long + b"\r\n"
            assert status(await send(head)) == expected, size


async def test_many_small_headers_are_a_large_head() -> None:
    async with sending() as send:
        many = b"".join(b"X-%d: y\r\n" % number for number in range(2000))
        assert status(await send(b"GET / HTTP/1.1\r\nHost: t\r\n" + many + b"\r\n")) == 431


async def test_a_body_is_no_part_of_the_head() -> None:
    async with sending() as send:
        head = b"POST / HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Length: 50000\r\n\r\n"
        assert status(await send(head + b"x" * 50_000)) == 200


async def test_the_second_request_of_a_connection_is_held_to_the_same() -> None:
    async with sending() as send:
        good = b"GET /good HTTP/1.1\r\nHost: t\r\n\r\n"
        for bad, expected in (
            (b"GET / HTTP/2.0\r\nHost: t\r\n\r\n", b"505"),
            (b"GET / HTTP/1.1\r\nHost: t\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", b"431"),
            (b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", b"400"),
        ):
            answer = await send(good + bad + SMUGGLED)
            assert [line.split()[1] for line in answer.split(b"\r\n") if b"HTTP/1.1 " in line] == [b"200", expected]
            assert b"smuggled" not in answer


async def test_a_body_that_breaks_off_in_a_chunk_is_refused() -> None:
    async with sending() as send:
        head = b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert status(await send(head + b"5\r\nhello\r\nno chunk\r\n")) == 400


@pytest.mark.slow
async def test_a_body_of_very_many_chunks_is_read_a_few_each_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of a megabyte in chunks of a byte took h11 half a second."""
    real = h11.Connection.next_event
    size = 40_000
    async with sending() as send:
        with Rounds() as rounds:

            def next_event(connection: h11.Connection) -> Any:
                event = real(connection)
                if isinstance(event, h11.Data):
                    rounds.count()
                return event

            monkeypatch.setattr(h11.Connection, "next_event", next_event)
            head = b"POST / HTTP/1.1\r\nHost: t\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
            answer = await send(head + b"1\r\nx\r\n" * size + b"0\r\n\r\n")
        assert status(answer) == 200
        assert answer.endswith(b'"' + b"x" * size + b'"}')
        assert 0 < rounds.most <= 64


async def test_requests_after_a_body_of_many_chunks_are_answered_as_well() -> None:
    async with sending() as send:
        chunked = b"POST /%d HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
        requests = [chunked % number + b"1\r\nx\r\n" * 1000 + b"0\r\n\r\n" for number in range(3)]
        answer = await send(b"".join(requests) + b"GET /last HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
        assert answer.count(b"HTTP/1.1 200") == 4
        assert answer.count(b'"' + b"x" * 1000 + b'"') == 3
        assert b"/last" in answer


async def test_the_rest_of_a_body_that_nobody_reads_is_passed_over_a_few_chunks_each_round() -> None:
    async with sending(Starlette()) as send:
        head = b"POST /nothing HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
        last = b"GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"
        answer = await send(head + b"1\r\nx\r\n" * 5000 + b"0\r\n\r\n" + last)
        assert answer.count(b"HTTP/1.1 404") == 2


@pytest.mark.slow
async def test_a_body_of_many_chunks_that_nobody_reads_yet_stays_with_its_sender() -> None:
    reading = asyncio.Event()

    async def late(request: Request) -> Response:
        await reading.wait()
        return JSONResponse(len(await request.body()))

    server = HttpServer(Starlette(routes=[Route("/", late, methods=["POST"])]), host="127.0.0.1", port=0)
    await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    size = 1_000_000
    writer.write(b"POST / HTTP/1.1\r\nHost: t\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n")
    writer.write(b"1\r\nx\r\n" * size + b"0\r\n\r\n")
    async with asyncio.timeout(120):
        kept = 0
        for _ in range(200):
            await asyncio.sleep(0.005)
            connections: Any = server._server.server_state.connections
            kept = max([kept, *(len(each.cycle.body) for each in connections if each.cycle)])
        assert 0 < kept < 200_000
        reading.set()
        assert (await ended(reader)).endswith(b"\r\n\r\n%d" % size)
    writer.close()
    await server.stop()
