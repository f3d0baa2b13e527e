"""A TCP proxy on the way to a server, which can delay, cut, swallow, hold back, or replace what passes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import Final

from sandbox.proxy import TcpProxy

_PIECE: Final = 16_384
_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER by which a close sends a reset."""

CUT_AFTER: Final = 700
"""Bytes of an answer that pass before a connection is cut."""

LATENCY: Final = 0.4
"""Seconds by which each piece is delayed, in each direction."""

LATE_SECONDS: Final = 2.0
"""How long the connection to the server stays open after a late delivery."""

_PAGE: Final = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    b"<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx/1.25.3</center>\r\n</body>\r\n</html>\r\n"
)
FOREIGN: Final = tuple(
    b"HTTP/1.1 %b\r\nServer: nginx\r\nContent-Type: text/html\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"
    % (status, len(_PAGE), _PAGE)
    for status in (b"502 Bad Gateway", b"200 OK", b"404 Not Found")
)
"""The pages of an nginx in the server's place: an error, and two that could be taken for an answer."""


class Proxy(TcpProxy):
    """Passes connections to a server on. `way` is what it does to them at present: see `plan.WAYS`; None is nothing.

    - `latency` delays each piece.
    - `reset` sends a reset, and `truncate` closes the connection, in the middle of an answer.
    - `hole` swallows all that arrives, and leaves connections open.
    - `late` holds requests back. They arrive when it ends, even if their sender is gone by then.
    - `foreign` answers each request with a page of an nginx.
    """

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self._way: str | None = None
        self._choice = 0.0
        self._over = asyncio.Event()

    def begin(self, way: str, choice: float = 0.0) -> None:
        """Treat connections in a way; `choice`, below one, chooses among its forms."""
        self.run(self._set(way, choice))

    def end(self) -> None:
        """Pass everything on again. Connections that were swallowed or held back are cut."""
        self.run(self._set(None, 0.0))

    async def _set(self, way: str | None, choice: float) -> None:
        self._way, self._choice = way, choice
        self._over.set()
        self._over = asyncio.Event()

    async def carry(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there: asyncio.StreamReader,
        back: asyncio.StreamWriter,
    ) -> None:
        """Return as soon as one direction has ended."""
        ways = [
            asyncio.create_task(self._requests(reader, writer, back)),
            asyncio.create_task(self._answers(there, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, back: asyncio.StreamWriter
    ) -> None:
        while piece := await reader.read(_PIECE):
            match self._way:
                case "latency":
                    await asyncio.sleep(LATENCY)
                case "hole":
                    await self._over.wait()
                    return
                case "late":
                    await self._deliver_late(piece, reader, back)
                    return
                case "foreign":
                    writer.write(FOREIGN[int(self._choice * len(FOREIGN))])
                    await writer.drain()
                    writer.close()
                    with contextlib.suppress(OSError):
                        await writer.wait_closed()
                    return
                case _:
                    pass
            back.write(piece)
            await back.drain()

    async def _deliver_late(self, piece: bytes, reader: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        """Hold back what arrives until the fault ends, and deliver it then: its sender may have gone."""
        held, over = bytearray(piece), asyncio.create_task(self._over.wait())
        while not over.done():
            more = asyncio.create_task(reader.read(_PIECE))
            await asyncio.wait((more, over), return_when=asyncio.FIRST_COMPLETED)
            if not more.done():
                more.cancel()
            elif found := _result(more):
                held += found
            else:
                await over
        back.write(held)
        await back.drain()
        await asyncio.sleep(LATE_SECONDS)  # a server drops what it has not read when its client goes

    async def _answers(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = CUT_AFTER
        while piece := await there.read(_PIECE):
            way = self._way
            if way == "latency":
                await asyncio.sleep(LATENCY)
            elif way in ("hole", "late"):
                await self._over.wait()
                await asyncio.sleep(LATE_SECONDS)
                return
            elif way in ("reset", "truncate"):
                writer.write(piece[:left])
                await writer.drain()
                left -= len(piece)
                if left < 0:
                    _cut(writer, reset=way == "reset")
                    return
                continue
            else:
                left = CUT_AFTER
            writer.write(piece)
            await writer.drain()


def _result(piece: asyncio.Task[bytes]) -> bytes:
    """Return what was read; nothing if the sender has gone."""
    try:
        return piece.result()
    except OSError:
        return b""


def _cut(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    if reset:
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        writer.transport.abort()
    else:
        writer.close()
