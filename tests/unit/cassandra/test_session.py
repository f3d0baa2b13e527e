from __future__ import annotations

import asyncio
import ssl
import subprocess
from pathlib import Path

import pytest
from cassandra import OperationTimedOut
from pydantic import SecretStr

from cdc_daemon.cassandra import session
from cdc_daemon.cassandra.session import connect
from cdc_daemon.config import CassandraSettings, TlsSettings
from cdc_daemon.model.errors import CassandraUnavailableError, ConfigError


def test_nobody_there(unused_tcp_port: int) -> None:
    with pytest.raises(CassandraUnavailableError, match="Connection refused") as caught:
        connect(CassandraSettings(port=unused_tcp_port))
    assert caught.value.retryable
    assert caught.value.hint == "is the node up, with its native transport at this address and port?"
    assert caught.value.where == {"contact_points": "127.0.0.1", "port": unused_tcp_port}


def test_a_name_that_is_none() -> None:
    with pytest.raises(CassandraUnavailableError, match="resolves") as caught:
        connect(CassandraSettings(contact_points=("no.such.host.invalid",)))
    assert "cassandra.contact_points" in str(caught.value.hint)


async def test_a_server_that_speaks_something_else() -> None:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(CassandraUnavailableError):
            await asyncio.to_thread(connect, CassandraSettings(port=port, request_timeout=2))


def test_the_password_is_in_no_error(unused_tcp_port: int) -> None:
    with pytest.raises(CassandraUnavailableError) as caught:
        connect(CassandraSettings(port=unused_tcp_port, username="daemon", password=SecretStr("hunter2")))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (session._LoginRefusedError("Bad credentials"), "cassandra.username"),
        (ssl.SSLError(1, "wrong version number"), "cassandra.tls"),
        (OperationTimedOut(), "cassandra.tls.enabled"),
        (Exception("Beta version of the protocol used (5/v5-beta), but USE_BETA flag is unset"), "3.11 and 4.0 to 5.0"),
        (OSError(113, "No route to host"), "is the node up"),
    ],
)
def test_hints(error: Exception, hint: str) -> None:
    assert hint in session._hint(CassandraSettings(), [error])


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=test"),
            *("-keyout", "key.pem", "-out", "cert.pem"),
        ],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return folder / "cert.pem", folder / "key.pem"


class TestTls:
    def test_context(self, pem: tuple[Path, Path]) -> None:
        certificate, key = pem
        context = session._tls_context(
            TlsSettings(enabled=True, ca_file=certificate, certificate_file=certificate, key_file=key)
        )
        assert context.check_hostname
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert len(context.get_ca_certs()) == 1

    def test_names_may_go_unverified_but_certificates_may_not(self, pem: tuple[Path, Path]) -> None:
        context = session._tls_context(TlsSettings(enabled=True, ca_file=pem[0], verify_hostname=False))
        assert not context.check_hostname
        assert context.verify_mode is ssl.CERT_REQUIRED

    @pytest.mark.parametrize("content", [None, "no certificate"])
    def test_files_that_cannot_be_used(self, tmp_path: Path, content: str | None) -> None:
        file = tmp_path / "ca.pem"
        if content is not None:
            file.write_text(content)
        with pytest.raises(ConfigError, match="expected certificates and keys in PEM form") as caught:
            connect(CassandraSettings(tls=TlsSettings(enabled=True, ca_file=file)))
        assert caught.value.where == {"ca_file": file}

    def test_a_key_with_a_passphrase_does_not_ask_for_it(self, tmp_path: Path, pem: tuple[Path, Path]) -> None:
        locked = tmp_path / "locked.pem"
        subprocess.run(
            ["openssl", "rsa", "-aes256", "-passout", "pass:hunter2", "-in", pem[1], "-out", locked],
            check=True,
            capture_output=True,
        )
        with pytest.raises(ConfigError) as caught:
            session._tls_context(TlsSettings(enabled=True, certificate_file=pem[0], key_file=locked))
        assert caught.value.where["key_file"] == locked
