"""Asks another daemon of the ring a question, with a short timeout."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson
from yarl import URL

from cdc_daemon.model.errors import PeerError
from cdc_daemon.peers.questions import LARGEST_BODY
from cdc_daemon.peers.signature import (
    DIGEST_HEADER,
    NONCE_HEADER,
    SIGNATURE_HEADER,
    PeerSignature,
    SignedHead,
)

TIMEOUT = 2.0
"""Seconds for a question and its answer, connection included."""

_PER_PEER = 2
"""Connections to one peer: a question that hangs does not stop the next one."""

_PIECE = 64 * 1024


class PeerClient:
    """Asks other daemons. It never sends the token, and believes only answers that are signed with it.

    `port` is the port on which all daemons answer each other.
    """

    def __init__(self, token: str, port: int, *, timeout: float = TIMEOUT, largest: int = LARGEST_BODY) -> None:
        self._signature = PeerSignature(token)
        self._port = port
        self._timeout = timeout
        self._largest = largest
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def ask(self, address: str, name: str, body: bytes = b"", *, port: int | None = None) -> bytes:
        """Return a peer's answer to a question.

        Raises `PeerError` if it does not answer in time, answers something else, or does not have the token.
        """
        if len(body) > self._largest:
            raise PeerError(f"expected a question of at most {self._largest} bytes, found {len(body)}", peer=address)
        url = URL.build(scheme="http", host=address, port=port or self._port, path=f"/peers/{name}")
        question = self._signature.question(name, body)
        try:
            # aiohttp's own timeout does not cover an answer that comes byte by byte from the pool of connections.
            async with (
                asyncio.timeout(self._timeout),
                self._open().post(url, data=body, headers=question.headers, allow_redirects=False) as answer,
            ):
                content = await self._read(answer, address)
                status, headers = answer.status, answer.headers
        except TimeoutError as error:
            raise PeerError(f"expected an answer within {self._timeout:g} s, found none", peer=address) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise PeerError(f"expected an answer, found {type(error).__name__}", peer=address) from error
        if status != 200:
            raise PeerError(f"expected status 200, found {status}", hint=_HINTS.get(status), peer=address)
        head = SignedHead(*(headers.get(header, "") for header in (NONCE_HEADER, DIGEST_HEADER, SIGNATURE_HEADER)))
        if not self._signature.is_answer(name, question, head, content):
            raise PeerError("expected an answer signed with the shared token", hint=_HINTS[403], peer=address)
        return content

    async def ask_json(self, address: str, name: str, body: object = None, *, port: int | None = None) -> Any:
        """Return a peer's answer to a question as the value of its JSON text. Raises `PeerError`."""
        answer = await self.ask(address, name, b"" if body is None else orjson.dumps(body), port=port)
        try:
            return orjson.loads(answer)
        except orjson.JSONDecodeError as error:
            raise PeerError("expected an answer in JSON", peer=address) from error

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, limit_per_host=_PER_PEER, keepalive_timeout=30.0),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(total=self._timeout),
            )
        return self._session

    async def _read(self, answer: aiohttp.ClientResponse, address: str) -> bytes:
        content = bytearray()
        while piece := await answer.content.read(_PIECE):
            content += piece
            if len(content) > self._largest:
                raise PeerError(f"expected an answer of at most {self._largest} bytes, found more", peer=address)
        return bytes(content)


_HINTS = {
    403: "give all daemons of the ring the same peers.token",
    404: "run the same version of the daemon beside each node",
    503: "the daemon is starting or stopping",
}
