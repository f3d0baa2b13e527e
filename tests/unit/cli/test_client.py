"""A command's client waits no longer than its timeout, and reports what it waited for."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cdc_daemon.cli.client import DaemonClient
from cdc_daemon.cli.jobs import LONGEST_PAUSE, JobsClient
from cdc_daemon.cli.main import app
from cdc_daemon.model.errors import CdcError
from tests.unit.cli.serving import Served
from tests.unit.http.certificates import Authority


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_daemon_that_hangs_is_waited_for_as_long_as_told(silent: int) -> None:
    said: list[str] = []
    client = DaemonClient(f"http://127.0.0.1:{silent}", patience=0.5, timeout=3600, on_wait=said.append)
    # With the time limit of one request, an hour, the test would run into its own.
    with pytest.raises(CdcError, match="timed out"):
        client.ask("GET", "/admin/jobs")


def test_what_is_waited_for_is_said_also_through_a_pipe(tmp_path: Path, unused_tcp_port: int) -> None:
    ids = tmp_path / "ids"
    ids.write_text("a\n")
    result = CliRunner().invoke(
        app, ["sync", "user", "--ids-file", str(ids), "--url", f"http://127.0.0.1:{unused_tcp_port}", "--wait", "1.5"]
    )
    assert result.exit_code == 1
    assert result.stderr.count(f"waiting for the daemon at http://127.0.0.1:{unused_tcp_port}: ") == 1


def test_a_job_is_looked_at_less_often_the_longer_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    answers = iter([{"finished": None}] * 20 + [{"finished": 1.0}])

    class Daemon(DaemonClient):
        def ask(self, *_: object, **__: object) -> object:
            return next(answers)

    assert len(list(JobsClient(Daemon("http://127.0.0.1:1")).follow("a"))) == 21
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE


def test_a_followed_job_is_no_line_of_the_log_each_time(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a-token\n")
    served = Served(token, scopes=("admin",))
    try:
        client = DaemonClient(served.url, token="a-token")
        job = client.ask("POST", "/admin/backfill", {"types": ["user"]})["job"]
        client.ask("GET", f"/admin/jobs/{job}")
    finally:
        served.stop()
    levels = {
        (event["method"], event["path"]): event["log_level"]
        for event in served.logged
        if event["event"] == "http.request"
    }
    assert levels["POST", "/admin/backfill"] == "info"
    assert levels["GET", f"/admin/jobs/{job}"] == "debug"


def test_a_piped_command_tells_how_far_its_job_is(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a-token\n")
    served = Served(token, scopes=("admin",))

    def end() -> None:
        assert served.daemon.range_jobs is not None
        while not served.daemon.range_jobs.reports:
            time.sleep(0.01)
        served.daemon.range_jobs.end(next(iter(served.daemon.range_jobs.reports)), "done")

    thread = threading.Thread(target=end)
    thread.start()
    try:
        result = CliRunner().invoke(app, ["backfill", "user", "--url", served.url, "--token-file", str(token)])
    finally:
        thread.join()
        served.stop()
    assert result.exit_code == 0, result.output
    assert "backfill user" in result.stderr


@pytest.fixture
def encrypted(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The URL of a server that encrypts, and the file of the authority that has signed its certificate."""
    authority = Authority(tmp_path, "authority")
    certificate, key = authority.issue("daemon")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = HTTPServer(("127.0.0.1", 0), Status)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}", authority.file
    server.shutdown()
    server.server_close()
    thread.join()


class Status(BaseHTTPRequestHandler):
    """Answers each request with the status of a daemon."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"state": "running", "problems": []}')

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def test_a_certificate_that_is_not_trusted_is_said_at_once(encrypted: tuple[str, Path]) -> None:
    url, authority = encrypted
    result = CliRunner().invoke(app, ["status", "--url", url, "--wait", "3600"])
    assert isinstance(result.exception, CdcError)
    assert "certificate" in result.exception.message
    assert "--ca-file" in str(result.exception.hint)
    assert CliRunner().invoke(app, ["status", "--url", url, "--ca-file", str(authority)]).exit_code == 0
    # A certificate of 127.0.0.1 says nothing of localhost.
    elsewhere = url.replace("127.0.0.1", "localhost")
    other = CliRunner().invoke(app, ["status", "--url", elsewhere, "--ca-file", str(authority), "--wait", "3600"])
    assert "--url" in str(getattr(other.exception, "hint", None)), other.output


def test_what_does_not_speak_tls_is_said_to_be_so(unused_tcp_port_factory: Callable[[], int]) -> None:
    server = HTTPServer(("127.0.0.1", unused_tcp_port_factory()), Status)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        url = f"https://127.0.0.1:{server.server_port}"
        result = CliRunner().invoke(app, ["status", "--url", url, "--wait", "0"])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert isinstance(result.exception, CdcError)
    assert "http or https" in str(result.exception.hint)
