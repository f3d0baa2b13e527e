"""Connections to both servers trust the newest certificates: authorities are rotated without a restart."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from cdc_daemon.cassandra import session
from cdc_daemon.config import TlsSettings
from cdc_daemon.model.errors import ConfigError
from cdc_daemon.search import ElasticsearchOptions
from cdc_daemon.search.engines.client import make_transport
from tests.unit.http.certificates import Authority

_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"


@asynccontextmanager
async def serving(authority: Authority, *, client_authority: Path | None = None) -> AsyncIterator[int]:
    """Answer with a certificate of this authority; return the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("server"))
    if client_authority is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_authority)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(_ANSWER)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.fixture
def authorities(tmp_path: Path) -> tuple[Authority, Authority]:
    return Authority(tmp_path, "old"), Authority(tmp_path, "new")


def replace(file: Path, content: Path) -> None:
    """Replace a file in one step, as a Secret's volume does."""
    other = file.with_name("other")
    shutil.copy(content, other)
    other.rename(file)


async def test_the_search_engine_is_trusted_by_the_newest_authority(
    tmp_path: Path, authorities: tuple[Authority, Authority]
) -> None:
    old, new = authorities
    trusted = tmp_path / "ca.pem"
    shutil.copy(old.file, trusted)
    async with serving(old) as before, serving(new) as after:
        hosts = tuple(f"https://127.0.0.1:{port}" for port in (before, after))
        clients = [make_transport(ElasticsearchOptions((host,), ca_file=trusted)) for host in hosts]

        async def is_trusted() -> list[bool]:
            answers = [client.perform_request("GET", "/") for client in clients]
            return [not isinstance(each, Exception) for each in await asyncio.gather(*answers, return_exceptions=True)]

        with capture_logs() as logged:
            assert await is_trusted() == [True, False]
            replace(trusted, new.file)
            assert await is_trusted() == [False, True]
            trusted.write_text("no certificate")
            assert await is_trusted() == [False, True]
            trusted.write_bytes(old.file.read_bytes() + new.file.read_bytes())
            assert await is_trusted() == [True, True]
            trusted.unlink()
            assert await is_trusted() == [True, True]
        for client in clients:
            await client.close()
    events = [line["event"] for line in logged if line["event"].startswith("tls.")]
    assert events.count("tls.files_reloaded") == 4  # twice by each of two clients
    assert "tls.files_unusable" in events
    assert not [line for line in logged if "hunter" in str(line)]


async def test_cassandra_is_trusted_by_the_newest_authority_and_gets_the_newest_certificate(
    tmp_path: Path, authorities: tuple[Authority, Authority]
) -> None:
    """As the driver connects: with a blocking socket, wrapped for each connection."""
    old, new = authorities
    trusted, (certificate, key) = tmp_path / "ca.pem", old.issue("daemon")
    shutil.copy(old.file, trusted)
    context = session._tls_context(
        TlsSettings(enabled=True, ca_file=trusted, certificate_file=certificate, key_file=key)
    )
    assert context.check_hostname

    def connect(port: int) -> bool:
        try:
            with (
                socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
                context.wrap_socket(plain, server_hostname="127.0.0.1") as encrypted,
            ):
                encrypted.sendall(b"GET / HTTP/1.1\r\n\r\n")
                return encrypted.recv(4) == b"HTTP"
        except OSError:
            return False

    async with (
        serving(old, client_authority=old.file) as before,
        serving(new, client_authority=new.file) as after,
    ):
        assert await asyncio.to_thread(connect, before)
        assert not await asyncio.to_thread(connect, after)
        replace(trusted, new.file)
        new.issue("daemon")
        assert await asyncio.to_thread(connect, after)
        assert not await asyncio.to_thread(connect, before)


def test_files_that_cannot_be_used_at_the_start_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected certificates and keys in PEM form"):
        session._tls_context(TlsSettings(enabled=True, ca_file=tmp_path / "absent.pem"))
