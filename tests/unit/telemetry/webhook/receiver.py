"""A receiver of events on a real socket, which behaves as a test wants."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

_PIECE = 65536
SECRET = "0123456789abcdef-secret"


class Post(NamedTuple):
    """A received post."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.body)
        return content

    @property
    def signed(self) -> bool:
        """Whether the signature is that of the secret."""
        content = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode() + self.body
        digest = base64.b64encode(hmac.digest(SECRET.encode(), content, hashlib.sha256)).decode()
        return self.headers["webhook-signature"] == f"v1,{digest}"


class Receiver:
    """Answers each post with the next of `answers`, and the last one again and again."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers) or [OK]
        self.posts: list[Post] = []
        self.sent = 0
        self.hangs = False
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/a-key-in-the-path"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {key.lower(): value for key, _, value in (line.partition(": ") for line in head[1:] if line)}
            body = await reader.readexactly(int(headers["content-length"]))
            self.posts.append(Post(head[0].split(" ")[1], headers, body))
            if self.hangs:
                await reader.read()
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            for start in range(0, len(answer), _PIECE):
                writer.write(answer[start : start + _PIECE])
                await writer.drain()
                self.sent = start
        writer.close()


def answering(status: str, *headers: str, body: bytes = b"") -> bytes:
    """Return a whole answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


OK = answering("204 No Content")


@asynccontextmanager
async def receiving(receiver: Receiver, port: int = 0) -> AsyncIterator[Receiver]:
    """Run a receiver during a block."""
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", port)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that sets no event of its own."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 -- nobody sets an event for a test
            await asyncio.sleep(0.01)
