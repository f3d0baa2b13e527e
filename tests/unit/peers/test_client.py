"""Questions between daemons: answered when signed, and given up soon whatever the other side does."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
import structlog

from cdc_daemon.model.errors import PeerError, PeerLeftError
from cdc_daemon.peers.client import PeerClient
from cdc_daemon.peers.questions import PeerQuestions
from cdc_daemon.peers.ring import Peers
from cdc_daemon.peers.signature import PeerSignature
from cdc_http import create_peer_app
from tests.unit.http.serving import Serving, serving

TOKEN = "a token that all daemons share"
HOST = "127.0.0.1"

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def echo(body: bytes) -> bytes:
    if body == b"nonsense":
        raise ValueError("expected sense")
    return b"heard " + body


def questions() -> PeerQuestions:
    known = PeerQuestions()
    known.register("echo", echo)
    known.register_json("node", lambda: {"node": "a"})
    return known


@asynccontextmanager
async def peer(token: str = TOKEN) -> AsyncIterator[Serving]:
    async with serving(create_peer_app(questions(), token)) as running:
        yield running


@asynccontextmanager
async def stranger(behave: Behaviour) -> AsyncIterator[int]:
    """Listen as something else does; return the port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.CancelledError):
            await behave(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def asked(port: int, body: bytes = b"", *, name: str = "echo", token: str = TOKEN) -> bytes:
    async with PeerClient(token, port, timeout=0.5, largest=100_000) as client:
        return await client.ask(HOST, name, body)


async def test_a_signed_question_is_answered() -> None:
    async with peer() as running, PeerClient(TOKEN, running.server.port) as client:
        assert await client.ask(HOST, "echo", b"a" * 1000) == b"heard " + b"a" * 1000
        assert await client.ask(HOST, "echo") == b"heard "
        assert await client.ask_json(HOST, "node") == {"node": "a"}
        with pytest.raises(PeerError, match="JSON"):
            await client.ask_json(HOST, "echo")


async def test_without_the_token_nobody_is_answered_and_nobody_is_believed() -> None:
    async with peer("the token of another ring") as running:
        with pytest.raises(PeerError, match="403"):
            await asked(running.server.port)


@pytest.mark.parametrize(
    ("name", "body", "status"), [("other", b"", "503"), ("echo", b"nonsense", "400"), ("a/b", b"", "404")]
)
async def test_a_question_that_is_not_understood_is_an_error(name: str, body: bytes, status: str) -> None:
    async with peer() as running:
        with pytest.raises(PeerError, match=status):
            await asked(running.server.port, body, name=name)


async def test_a_changed_question_is_refused_before_and_after_its_body_is_read() -> None:
    async with peer() as running:
        head = PeerSignature(TOKEN).question("echo", b"abc")
        for headers, body in (
            (head.headers, b"abd"),
            (head._replace(digest="0" * 64).headers, b"abc"),
            (head._replace(nonce="1").headers, b"abc"),
            ({}, b"abc"),
        ):
            lines = [f"{name}: {value}" for name, value in headers.items()]
            text = "\r\n".join(["POST /peers/echo HTTP/1.1", "host: t", "content-length: 3", *lines, "", ""])
            answer = await running.ask(text.encode() + body)
            assert answer.split()[1] in {b"400", b"403"}


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")


async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(bytes(range(256)) * 10)
    await writer.drain()


async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


async def lie(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncdc-signature: x\r\n\r\nheard")
    await writer.drain()


async def send_elsewhere(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 307 Elsewhere\r\nlocation: http://example.org/\r\ncontent-length: 0\r\n\r\n")
    await writer.drain()


@pytest.mark.parametrize("behave", [hang, drip, close, garbage, flood, lie, send_elsewhere])
async def test_a_peer_that_does_not_answer_properly_is_an_error_soon(behave: Behaviour) -> None:
    with structlog.testing.capture_logs() as events:
        async with stranger(behave) as port:
            with pytest.raises(PeerError) as caught:
                await asked(port, b"x" * 1000)
    assert caught.value.retryable
    assert TOKEN not in str(caught.value)
    assert TOKEN not in str(events)


async def test_a_closed_port_is_an_error() -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(PeerError):
        await asked(port)


async def test_a_recorded_answer_is_not_believed_again() -> None:
    recorded = PeerSignature(TOKEN).answer("echo", "the nonce of an older question", b"heard")

    async def repeat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        lines = [f"{name}: {value}" for name, value in recorded.headers.items()]
        writer.write("\r\n".join(["HTTP/1.1 200 OK", "content-length: 5", *lines, "", "heard"]).encode())
        await writer.drain()

    async with stranger(repeat) as port:
        with pytest.raises(PeerError, match="signed"):
            await asked(port)


async def test_the_token_is_never_sent() -> None:
    received = bytearray()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(1000):
            received.extend(piece)

    async with stranger(listen) as port:
        with pytest.raises(PeerError):
            await asked(port, b"body")
        assert b"/peers/echo" in received
        assert TOKEN.encode() not in received


class Nodes:
    own = "a"

    def __init__(self, **addresses: str) -> None:
        self._addresses = addresses

    def addresses(self) -> dict[str, str]:
        return self._addresses


async def test_all_peers_are_asked_at_once_and_each_failure_is_its_own() -> None:
    async with peer() as running, PeerClient(TOKEN, running.server.port, timeout=0.5) as client:
        answers = await Peers(Nodes(b=HOST, c="127.0.0.77"), client).ask_all_json("node")
    assert answers["b"] == {"node": "a"}
    assert isinstance(answers["c"], PeerError)


async def test_a_node_that_left_and_a_daemon_without_a_port_ask_nobody() -> None:
    async with PeerClient(TOKEN, 1) as client:
        with pytest.raises(PeerLeftError, match="left the ring"):
            await Peers(Nodes(), client).ask("b", "echo")
    alone = Peers(Nodes(b=HOST), None)
    assert not alone.asks
    assert alone.names() == ["b"]
    with pytest.raises(PeerError, match=r"peers\.port"):
        await alone.ask("b", "echo")
