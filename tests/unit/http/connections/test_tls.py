"""Encrypted connections, clients' certificates, and files that are replaced meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from cdc_daemon.config import HttpTlsSettings
from cdc_daemon.model.errors import ConfigError
from cdc_http import ConnectionLimits, HttpServer, ReloadingTlsContext, create_app
from tests.unit.http.certificates import Authority
from tests.unit.http.fake import FakeDaemon


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@contextlib.asynccontextmanager
async def serving(tls: ReloadingTlsContext, limits: ConnectionLimits | None = None) -> AsyncIterator[int]:
    server = HttpServer(create_app(FakeDaemon()), host="127.0.0.1", port=0, context=tls.context, limits=limits)
    await server.start()
    try:
        yield server.port
    finally:
        await server.stop()


async def get(
    port: int, trusted: Path, client: tuple[Path, Path] | None = None, context: ssl.SSLContext | None = None
) -> bytes:
    """Return the answer to a request, and check who answered. Raises `ssl.SSLError` or `ConnectionError`."""
    context = context or ssl.create_default_context(cafile=trusted)
    if client is not None:
        context.load_cert_chain(*client)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        writer.write(b"GET /livez HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        if not answer:
            raise ConnectionError("no answer")
        return answer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def test_an_encrypted_connection_and_a_replaced_certificate(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("server")
    tls = ReloadingTlsContext(HttpTlsSettings(certificate_file=certificate, key_file=key))
    async with serving(tls) as port:
        assert (await get(port, authority.file)).startswith(b"HTTP/1.1 200")
        other = Authority(tmp_path, "other")
        other.issue("server")
        tls.reload()
        assert (await get(port, other.file)).startswith(b"HTTP/1.1 200")
        with pytest.raises(ssl.SSLError):
            await get(port, authority.file)


@pytest.mark.slow
@pytest.mark.parametrize("begun", [b"", b"\x16\x03\x01\x02\x00\x01\x00"])
async def test_a_handshake_that_does_not_end_holds_neither_a_connection_nor_others(
    authority: Authority, begun: bytes
) -> None:
    certificate, key = authority.issue("server")
    tls = ReloadingTlsContext(HttpTlsSettings(certificate_file=certificate, key_file=key))
    async with serving(tls, ConnectionLimits(head_timeout=2.0)) as port, asyncio.timeout(30):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(begun)
        assert (await get(port, authority.file)).startswith(b"HTTP/1.1 200")
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()


async def test_half_a_replacement_leaves_what_was(authority: Authority) -> None:
    certificate, key = authority.issue("server")
    tls = ReloadingTlsContext(HttpTlsSettings(certificate_file=certificate, key_file=key))
    whole = key.read_bytes()
    async with serving(tls) as port:
        authority.issue("server")
        key.write_bytes(whole)
        tls.reload()
        assert (await get(port, authority.file)).startswith(b"HTTP/1.1 200")


async def test_clients_have_to_show_a_certificate(authority: Authority, tmp_path: Path) -> None:
    clients = Authority(tmp_path, "clients")
    known = clients.issue("known")
    certificate, key = authority.issue("server")
    tls = ReloadingTlsContext(HttpTlsSettings(certificate_file=certificate, key_file=key, client_ca_file=clients.file))
    async with serving(tls) as port:
        assert (await get(port, authority.file, known)).startswith(b"HTTP/1.1 200")
        for stranger in (None, authority.issue("stranger")):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await get(port, authority.file, stranger)
        Authority(tmp_path, "clients")  # replaces the file: who was known is not any more
        tls.reload()
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await get(port, authority.file, known)


def test_files_that_cannot_be_used(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("server")
    nothing = tmp_path / "nothing"
    nothing.write_text("nothing")
    for files in ((nothing, key), (certificate, nothing), (certificate, tmp_path / "none")):
        with pytest.raises(ConfigError, match="expected certificates and keys"):
            ReloadingTlsContext(HttpTlsSettings(certificate_file=files[0], key_file=files[1]))
    with pytest.raises(ConfigError) as caught:
        ReloadingTlsContext(HttpTlsSettings(certificate_file=certificate, key_file=key, client_ca_file=nothing))
    assert "client_ca_file" in caught.value.where


def tls_1_2(trusted: Path, ciphers: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=trusted)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(ciphers)
    return context


@pytest.mark.parametrize("kind", ["EC", "RSA"])
async def test_tls_1_2_has_authenticated_encryption_only(authority: Authority, kind: str) -> None:
    own = rsa.generate_private_key(65537, 2048) if kind == "RSA" else None
    certificate, key = authority.issue("server", own)
    tls = ReloadingTlsContext(HttpTlsSettings(certificate_file=certificate, key_file=key))
    assert all(cipher["aead"] for cipher in tls.context.get_ciphers())
    async with serving(tls) as port:
        for ciphers in ("ECDHE+AESGCM", "ECDHE+CHACHA20"):
            answer = await get(port, authority.file, context=tls_1_2(authority.file, ciphers))
            assert answer.startswith(b"HTTP/1.1 200")
        for ciphers in ("ECDHE+AES:!AESGCM:!AESCCM", "ECDHE+SHA256:!AESGCM"):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await get(port, authority.file, context=tls_1_2(authority.file, ciphers))
        modern = ssl.create_default_context(cafile=authority.file)
        modern.minimum_version = ssl.TLSVersion.TLSv1_3
        assert (await get(port, authority.file, context=modern)).startswith(b"HTTP/1.1 200")


def test_a_short_rsa_key_is_refused(authority: Authority) -> None:
    certificate, key = authority.issue("server", rsa.generate_private_key(65537, 1024))
    with pytest.raises(ConfigError, match="2,048 bits") as caught:
        ReloadingTlsContext(HttpTlsSettings(certificate_file=certificate, key_file=key))
    assert caught.value.where["certificate_file"] == certificate


async def test_a_short_rsa_key_of_a_client_is_refused(authority: Authority, tmp_path: Path) -> None:
    clients = Authority(tmp_path, "clients")
    certificate, key = authority.issue("server")
    tls = ReloadingTlsContext(HttpTlsSettings(certificate_file=certificate, key_file=key, client_ca_file=clients.file))
    async with serving(tls) as port:
        for bits, refused in ((2048, False), (1024, True)):
            context = ssl.create_default_context(cafile=authority.file)
            context.set_ciphers("DEFAULT@SECLEVEL=0")
            context.load_cert_chain(*clients.issue("client", rsa.generate_private_key(65537, bits)))
            expected = pytest.raises((ssl.SSLError, ConnectionError)) if refused else contextlib.nullcontext()
            with expected:
                assert (await get(port, authority.file, context=context)).startswith(b"HTTP/1.1 200")


async def test_the_files_are_looked_at(authority: Authority) -> None:
    certificate, key = authority.issue("server")
    tls = ReloadingTlsContext(HttpTlsSettings(certificate_file=certificate, key_file=key))
    before = tls._current
    looking = asyncio.create_task(tls.run(pause=0.005))
    authority.issue("server")
    async with asyncio.timeout(5):
        while tls._current is before:  # noqa: ASYNC110 -- nothing tells of it but what it does
            await asyncio.sleep(0.01)
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
