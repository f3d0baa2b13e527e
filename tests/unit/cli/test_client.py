"""A command's client waits no longer than it is told to, and says for what."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cdc_daemon.cli import app
from cdc_daemon.client import DaemonClient
from cdc_daemon.errors import CdcError
from cdc_daemon.jobs.client import LONGEST_PAUSE, JobsClient
from tests.unit.cli.serving import Served


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
