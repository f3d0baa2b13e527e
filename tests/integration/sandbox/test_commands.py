"""`python -m sandbox` as people and scripts run it."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from sandbox import cql

_CHECKOUT = Path(__file__).parents[3]


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sandbox", *arguments]
    return subprocess.run(command, cwd=_CHECKOUT, capture_output=True, text=True, timeout=180, check=False)


def _status(name: str) -> dict[str, Any] | None:
    listed: list[dict[str, Any]] = json.loads(_run("status", "--json").stdout)
    return next((state for state in listed if state["name"] == name), None)


@pytest.fixture
def name() -> Iterator[str]:
    chosen = f"test-{secrets.token_hex(4)}"
    yield chosen
    _run("down", chosen)


def test_up_kill_start_status_down(name: str) -> None:
    result = _run("up", "--name", name, "--no-elasticsearch", "--json", "--yaml", "commitlog_sync_period=50ms")
    assert result.returncode == 0, result.stderr
    state = json.loads(result.stdout)
    ring = state["cassandra"]
    (node,) = ring["nodes"]
    assert state["name"] == name
    assert state["elasticsearch"] is None
    assert ring["contact_points"] == ["127.0.0.1"]
    assert ring["port"] == node["port"]
    assert ring["datacenter"] == "datacenter1"
    assert Path(node["data_directory"]).is_dir()
    assert Path(node["cdc_raw_directory"]).is_dir()
    assert psutil.Process(node["pid"]).name() == "java"
    assert cql.answers(node["host"], node["port"])
    settings = (Path(node["data_directory"]).parent / "cassandra.yaml").read_text()
    assert "commitlog_sync_period: 50ms" in settings
    assert "answers at" in result.stderr

    again = _run("up", "--name", name)
    assert again.returncode == 1
    assert f"python -m sandbox down {name}" in again.stderr

    assert _run("kill", "cassandra", "--name", name).returncode == 0
    assert not psutil.pid_exists(node["pid"])
    assert _run("start", "cassandra", "--name", name).returncode == 0
    now = _status(name)
    assert now is not None
    assert now["status"] == "running"
    assert now["cassandra"]["port"] == node["port"]
    restarted = psutil.Process(now["cassandra"]["nodes"][0]["pid"])

    nonsense = _run("kill", "elasticsearch", "--name", name)
    assert nonsense.returncode == 1
    assert "expected one of cassandra" in nonsense.stderr

    assert _run("down", name).returncode == 0
    assert not restarted.is_running()
    assert not Path(state["directory"]).exists()
    assert _status(name) is None


def test_a_failed_start_says_why_and_leaves_nothing(name: str) -> None:
    result = _run("up", "--name", name, "--no-elasticsearch", "--yaml", "partitioner=Nonsense")

    assert result.returncode == 1
    assert "Nonsense" in result.stderr
    assert _status(name) is None


def test_killing_the_process_in_the_foreground_leaves_only_files(name: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "sandbox", "up", "--name", name, "--foreground", "--no-elasticsearch", "--json"],
        cwd=_CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as command:
        assert command.stdout is not None
        lines = []
        for line in command.stdout:
            lines.append(line)
            if line == "}\n":
                break
        state = json.loads("".join(lines))
        server = psutil.Process(state["cassandra"]["nodes"][0]["pid"])

        os.kill(state["pid"], signal.SIGKILL)
        command.wait(30)
        gone, _ = psutil.wait_procs([server], timeout=10)

    assert gone == [server]
    dead = _status(name)
    assert dead is not None
    assert dead["status"] == "dead"
    assert _run("down", name).returncode == 0
    assert _status(name) is None
