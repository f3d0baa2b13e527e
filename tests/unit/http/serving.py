"""A real server on a socket of this machine, and callers of it that send bytes as they like."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from starlette.types import ASGIApp

from cdc_http import ConnectionLimits, HttpServer

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Serving:
    """A server that runs, and the connections that a test has opened to it."""

    def __init__(self, server: HttpServer) -> None:
        self.server = server
        self._writers: list[asyncio.StreamWriter] = []

    async def connect(self, source: str | None = None) -> Streams:
        """Open a connection, from another address of this machine (127.0.0.2, …) where one is given."""
        local = None if source is None else (source, 0)
        streams = await asyncio.open_connection("127.0.0.1", self.server.port, local_addr=local)
        self._writers.append(streams[1])
        return streams

    async def ask(self, head_and_body: bytes, source: str | None = None) -> bytes:
        """Send a request on a connection of its own and return the whole answer."""
        reader, writer = await self.connect(source)
        writer.write(head_and_body)
        answer = await ended(reader)
        writer.close()
        return answer

    def close(self) -> None:
        for writer in self._writers:
            writer.close()


@asynccontextmanager
async def serving(
    app: ASGIApp, limits: ConnectionLimits | None = None, *, seconds: float = 60
) -> AsyncIterator[Serving]:
    """Serve an application; a test that hangs fails after so many seconds."""
    server = HttpServer(app, host="127.0.0.1", port=0, limits=limits)
    await server.start()
    running = Serving(server)
    try:
        async with asyncio.timeout(300):
            yield running
    finally:
        running.close()
        await server.stop()


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that sets no event of its own."""
    while not condition():  # noqa: ASYNC110 -- nobody sets an event for a test
        await asyncio.sleep(0.01)


async def ended(reader: asyncio.StreamReader) -> bytes:
    """Return all that comes until the other side ends the connection."""
    received = b""
    with suppress(ConnectionError):
        while piece := await reader.read(65536):
            received += piece
    return received


async def answered(reader: asyncio.StreamReader) -> tuple[int, Mapping[str, str], bytes]:
    """Return the next answer of a connection: status, headers, body. Raises `ConnectionError` where it ends."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    return int(head[0].split()[1]), headers, await reader.readexactly(int(headers["content-length"]))


def posting(content: Any, *, token: str | None = None, close: bool = False, path: str = "/sync") -> bytes:
    """Return a whole request with a JSON body, as bytes."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return heading(len(body), token=token, close=close, path=path) + body


def heading(length: int, *, token: str | None = None, close: bool = False, path: str = "/sync") -> bytes:
    """Return the head of a request whose body is so many bytes long."""
    lines = [f"POST {path} HTTP/1.1", "Host: t", "Content-Type: application/json", f"Content-Length: {length}"]
    lines += [f"Authorization: Bearer {token}"] if token else []
    lines += ["Connection: close"] if close else []
    return "\r\n".join([*lines, "", ""]).encode()
