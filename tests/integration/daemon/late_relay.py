"""A way to Elasticsearch on which one bulk request is held back, to arrive when its sender is long gone."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import socket
from typing import Any

from sandbox.proxy import TcpProxy

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


class LateRelay(TcpProxy):
    """Passes requests on whole, but for the first one that holds a marker after `hold`."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self._marker: bytes | None = None
        self._held: bytes | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def holds(self) -> bool:
        """Whether it holds a request back."""
        return self._held is not None

    def hold(self, marker: bytes) -> None:
        """Hold the next bulk request back in which this is found."""
        self._marker = marker

    def release(self) -> list[dict[str, Any]]:
        """Deliver the held request; return the items of Elasticsearch's answer, which no client awaits any more."""
        assert self._held is not None
        with socket.create_connection(self._target, timeout=60) as connection:
            connection.sendall(self._held)
            answer = http.client.HTTPResponse(connection, method="POST")
            answer.begin()
            items: list[dict[str, Any]] = json.loads(answer.read())["items"]
            return items

    async def carry(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there: asyncio.StreamReader,
        back: asyncio.StreamWriter,
    ) -> None:
        """Pass requests on one by one, until the sender goes or one is held back."""
        answers = asyncio.create_task(_copy(there, writer))
        try:
            while True:
                request = await _read_request(reader)
                if self._marker is not None and request.startswith(b"POST /_bulk") and self._marker in request:
                    self._marker, self._held = None, request
                    await reader.read()  # until the sender goes
                    return
                back.write(request)
                await back.drain()
        except EOFError:
            pass
        finally:
            answers.cancel()


async def _read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return head + (await reader.readexactly(int(length[1])) if length else b"")


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(65_536):
        writer.write(piece)
        await writer.drain()
