"""A daemon that runs already is found, left alone, and judged by what it answers."""

from __future__ import annotations

import fcntl
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cdc_daemon.cli.checks.daemon import check_http, check_peers, check_running
from cdc_daemon.cli.checks.finding import Finding
from cdc_daemon.config import (
    AuthSettings,
    CommitLogSettings,
    HttpSettings,
    HttpTlsSettings,
    JwtSettings,
    MappingSettings,
    PeerSettings,
    Settings,
    StateSettings,
)
from cdc_daemon.model.signal import TableName
from cdc_daemon.sources.log.lock import LOCK_FILE


def _check(raw: Path, state: Path, http: HttpSettings) -> tuple[Finding, bool]:
    settings = Settings(
        commit_log=CommitLogSettings(cdc_raw_directory=raw),
        state=StateSettings(directory=state),
        mappings={"user": MappingSettings(table=TableName("k", "t"), alias="a")},
        http=http,
    )
    return check_running(settings)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _answering(status: int, body: bytes) -> Iterator[int]:
    """Answer every GET alike, and yield the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the library's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("which", ["state", "raw"])
def test_a_healthy_daemon_is_no_warning(raw: Path, state: Path, which: str) -> None:
    (state / LOCK_FILE).touch()
    held = state / LOCK_FILE if which == "state" else raw
    with _locked(held), _answering(200, b'{"started": true}') as port:
        finding, running = _check(raw, state, HttpSettings(port=port))
    assert running
    assert finding.status == "ok"
    assert "healthy" in finding.found
    assert str(held) in finding.found


def test_the_health_port_is_asked_where_there_is_one(raw: Path, state: Path) -> None:
    with _locked(raw), _answering(200, b'{"started": true}') as port:
        finding, _ = _check(raw, state, HttpSettings(port=None, health_port=port))
    assert finding.status == "ok"
    assert "healthy" in finding.found


@pytest.mark.parametrize(
    "body",
    [
        b'{"started": false, "not_stopping": true}',
        b'{"ok": false, "checks": {"started": false, "not_stopping": true}}',  # what /readyz answers
    ],
)
def test_a_daemon_that_is_not_ready_is_told_with_its_reason(raw: Path, state: Path, body: bytes) -> None:
    with _locked(raw), _answering(503, body) as port:
        finding, running = _check(raw, state, HttpSettings(port=port))
    assert running
    assert finding.status == "warn"
    assert finding.found.endswith("not ready: started")


@pytest.mark.parametrize("body", [b"[]", b"null", b"no JSON", b'{"started": 1}'])
def test_whatever_answers_there_is_no_traceback(raw: Path, state: Path, body: bytes) -> None:
    with _locked(raw), _answering(503, body) as port:
        finding, running = _check(raw, state, HttpSettings(port=port))
    assert running
    assert finding.status == "warn"


def test_a_lock_whose_holder_does_not_answer(raw: Path, state: Path, unused_tcp_port: int) -> None:
    with _locked(raw):
        finding, running = _check(raw, state, HttpSettings(port=unused_tcp_port))
    assert running
    assert finding.status == "warn"
    assert str(raw) in finding.found


def test_a_daemon_that_listens_nowhere(raw: Path, state: Path) -> None:
    with _locked(raw):
        finding, running = _check(raw, state, HttpSettings(port=None))
    assert running
    assert finding.status == "ok"
    assert "not known" in finding.found


def test_no_daemon(raw: Path, state: Path) -> None:
    finding, running = _check(raw, state, HttpSettings())
    assert not running
    assert finding.status == "ok"


def test_the_check_holds_no_lock_itself(raw: Path, state: Path) -> None:
    _check(raw, state, HttpSettings())
    with _locked(raw):
        pass


def _check_listening(settings: HttpSettings, *, running: bool = False) -> dict[str, Finding]:
    return {finding.name: finding for finding in check_http(settings, running=running)}


def test_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        finding = _check_listening(HttpSettings(port=port))["http.port"]
        assert finding.status == "fail"
        assert f"127.0.0.1:{port}" in finding.found
        assert "http.port" in str(finding.mend)
        assert not _check_listening(HttpSettings(port=port), running=True)
        finding = _check_listening(HttpSettings(port=0, health_port=port))["http.health_port"]
        assert finding.status == "fail"
        assert "http.health_port" in str(finding.mend)
    assert _check_listening(HttpSettings(port=port))["http.port"].status == "ok"


def test_the_port_for_peers_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        peers = PeerSettings.model_validate({"port": port, "host": "127.0.0.1", "token": "0123456789abcdef"})
        (finding,) = check_peers(peers, running=False)
        assert (finding.name, finding.status) == ("peers.port", "fail")
        assert not list(check_peers(peers, running=True))
    assert not list(check_peers(PeerSettings(), running=False))


def test_a_daemon_that_leaves_changes_to_others_needs_peers() -> None:
    (finding,) = check_peers(PeerSettings(), running=True, divided=True)
    assert (finding.name, finding.status) == ("peers.port", "warn")
    assert "peers.token_file" in str(finding.mend)


def test_a_daemon_that_does_not_listen() -> None:
    assert _check_listening(HttpSettings(port=None))["http.listening"].status == "ok"


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    certificate, keys = tmp_path / "tls.crt", tmp_path / "keys.json"
    certificate.write_text("no certificate")
    keys.write_text('{"keys": 3}')
    settings = HttpSettings(
        port=0,
        tls=HttpTlsSettings(certificate_file=certificate, key_file=tmp_path / "tls.key"),
        auth=AuthSettings(jwt=JwtSettings(key_set_file=keys)),
    )
    found = _check_listening(settings)
    assert found["http.tls"].status == "fail"
    assert found["http.auth"].status == "fail"
    assert str(keys) in found["http.auth"].found
