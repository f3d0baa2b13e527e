"""The health port: probes and metrics on a listener of their own, whatever callers do at the main port."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from cdc_daemon.app.serving import serving
from cdc_daemon.config import HttpSettings, HttpTlsSettings, PeerSettings
from cdc_daemon.model.errors import ConfigError
from tests.unit.http.certificates import Authority
from tests.unit.http.fake import FakeDaemon
from tests.unit.http.serving import ended

Ports = dict[str, int]


@contextmanager
def listening() -> Iterator[Ports]:
    """Give the ports that are listened on by the names of their events."""
    ports: Ports = {}
    with capture_logs() as logs:
        yield ports
    ports.update({each["event"]: each["port"] for each in logs if each["event"].endswith("listening")})


async def ask(port: int, path: str, method: str = "GET") -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n".encode())
    answer = await ended(reader)
    writer.close()
    return answer


async def started(settings: HttpSettings, daemon: FakeDaemon | None = None) -> tuple[Any, Ports]:
    """Start the listeners; return what ends them, and their ports."""
    running = serving(daemon or FakeDaemon(), settings)
    with listening() as ports:
        await running.__aenter__()
    return running, ports


async def test_probes_and_metrics_have_a_port_of_their_own() -> None:
    daemon = FakeDaemon()
    running, ports = await started(HttpSettings(port=0, health_port=0), daemon)
    port = ports["http.health_listening"]
    assert port != ports["http.listening"]
    for path in ("/livez", "/readyz", "/metrics"):
        for each in ports.values():
            assert (await ask(each, path)).startswith(b"HTTP/1.1 200 ")
    assert daemon.measured == len(ports), "each scrape shows what was counted up to then"
    daemon.checks["started"] = False
    assert (await ask(port, "/readyz")).startswith(b"HTTP/1.1 503 ")
    assert (await ask(port, "/metrics")).find(b"cdc_daemon_") > 0
    await running.__aexit__(None, None, None)
    for each in ports.values():
        with pytest.raises(ConnectionRefusedError):
            await ask(each, "/livez")


@pytest.mark.parametrize("path", ["/", "/status", "/events", "/sync", "/admin/pause", "/openapi.yaml", "/livez/"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_nothing_else_is_at_the_health_port(path: str, method: str) -> None:
    running, ports = await started(HttpSettings(port=None, health_port=0))
    assert set(ports) == {"http.health_listening"}
    assert (await ask(ports["http.health_listening"], path, method)).startswith(b"HTTP/1.1 404 ")
    await running.__aexit__(None, None, None)


async def test_there_is_none_unless_it_is_configured() -> None:
    running, ports = await started(HttpSettings(port=0))
    assert set(ports) == {"http.listening"}
    await running.__aexit__(None, None, None)
    running, ports = await started(HttpSettings(enabled=False, health_port=0))
    assert not ports
    await running.__aexit__(None, None, None)


async def test_it_is_plain_where_clients_have_to_show_a_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    certificate, key = authority.issue("server")
    tls = HttpTlsSettings(certificate_file=certificate, key_file=key, client_ca_file=authority.file)
    running, ports = await started(HttpSettings(port=0, health_port=0, tls=tls))
    assert (await ask(ports["http.health_listening"], "/livez")).startswith(b"HTTP/1.1 200 ")
    assert not (await ask(ports["http.listening"], "/livez")).startswith(b"HTTP/1.1 200 ")
    await running.__aexit__(None, None, None)


async def test_idle_sockets_at_the_main_port_and_at_its_own_do_not_starve_it() -> None:
    running, ports = await started(HttpSettings(port=0, health_port=0))
    idle = [await asyncio.open_connection("127.0.0.1", ports["http.listening"]) for _ in range(520)]
    idle += [await asyncio.open_connection("127.0.0.1", ports["http.health_listening"]) for _ in range(200)]
    for _ in range(5):
        assert (await ask(ports["http.health_listening"], "/livez")).startswith(b"HTTP/1.1 200 ")
    for _, writer in idle:
        writer.close()
    await running.__aexit__(None, None, None)


async def test_a_taken_health_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match="another process listens there") as caught:
            await started(HttpSettings(port=0, health_port=port))
    assert caught.value.hint is not None
    assert "http.health_port" in caught.value.hint


async def test_peers_have_a_port_of_their_own() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    peers = PeerSettings.model_validate({"port": port, "host": "127.0.0.1", "token": "0123456789abcdef"})
    with listening() as ports:
        async with serving(FakeDaemon(), HttpSettings(port=None), peers):
            assert b" 403 " in await ask(port, "/peers/node", "POST")
            assert b" 404 " in await ask(port, "/livez")
    assert ports == {"peers.listening": port}
    with pytest.raises(ConnectionRefusedError):
        await ask(port, "/peers/node")


async def test_a_taken_main_port_ends_the_health_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, listening() as ports:
        running = serving(FakeDaemon(), HttpSettings(port=other.getsockname()[1], health_port=0))
        with pytest.raises(ConfigError):
            await running.__aenter__()
    with pytest.raises(ConnectionRefusedError):
        await ask(ports["http.health_listening"], "/livez")
