"""With a wrong configuration the process stays alive, reports it, and starts the daemon when it is right."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from cdc_daemon.app.config_wait import ConfigWait
from cdc_daemon.config import Settings
from cdc_daemon.model.errors import ConfigError
from cdc_daemon.telemetry import logs
from sandbox.ports import PortReservation
from tests.integration.daemon.harness import wait_for

WRONG = ConfigError("expected a mapping, found nothing", hint="add one", file="config.yaml")


@pytest.fixture(autouse=True)
def _log_stays_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "configure", lambda _settings: None)


def get(port: int, path: str) -> tuple[int, str]:
    """The status and the body of an answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


class Files:
    """A configuration that a test changes."""

    def __init__(self, *found: Settings | ConfigError) -> None:
        self.found = list(found)
        self.reads = 0

    def load(self) -> Settings:
        self.reads += 1
        current = self.found.pop(0) if len(self.found) > 1 else self.found[0]
        if isinstance(current, ConfigError):
            raise current
        return current


def a_settings(**sections: Any) -> Settings:
    return Settings.model_validate(
        {
            "tail": False,
            "state": {"directory": "/nowhere"},
            "poll": [{"table": "k.t", "strategy": "scan"}],
            "mappings": {"user": {"table": "k.t", "alias": "a"}},
            **sections,
        }
    )


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 -- what is waited for has no event
            await asyncio.sleep(0.01)


async def test_it_waits_alive_and_not_ready_and_starts_when_the_file_is_right() -> None:
    ports = PortReservation()
    port = ports.reserve()
    files = Files(WRONG)
    started: list[Settings] = []

    async def run(settings: Settings) -> int:
        started.append(settings)
        return 7

    wait = ConfigWait(files.load, run, health_port=port, read_seconds=0.02)
    with capture_logs() as logged:
        running = asyncio.create_task(wait.run())
        await until(lambda: files.reads > 3)
        assert (await asyncio.to_thread(get, port, "/livez"))[0] == 200
        status, ready = await asyncio.to_thread(get, port, "/readyz")
        assert status == 503
        assert json.loads(ready)["checks"] == {"started": False, "configuration_valid": False}
        _, metrics = await asyncio.to_thread(get, port, "/metrics")
        assert "cdc_daemon_configuration_valid 0.0" in metrics
        assert "cdc_daemon_ready 0.0" in metrics
        assert not started
        right = a_settings()
        files.found = [right]
        assert await running == 7
    ports.close()
    assert started == [right]
    lines = [line for line in logged if line["event"] == "daemon.configuration_wrong"]
    assert {(str(line["error"]), line["hint"], line["log_level"]) for line in lines} == {
        (str(WRONG), "add one", "error")
    }


async def test_a_start_that_fails_is_repeated_when_the_file_changes() -> None:
    first, second = a_settings(), a_settings(mappings={"user": {"table": "k.t", "alias": "b"}})
    files = Files(first)
    started: list[Settings] = []

    async def run(settings: Settings) -> int:
        started.append(settings)
        if settings == first:
            raise WRONG
        return 0

    wait = ConfigWait(files.load, run, read_seconds=0.01, retry_seconds=1000)
    with capture_logs() as logged:
        running = asyncio.create_task(wait.run())
        await until(lambda: files.reads > 5)
        assert started == [first]
        files.found = [WRONG]
        await until(lambda: not running.done() and files.reads > 10)
        files.found = [second]
        assert await running == 0
    assert started == [first, second]
    assert [line for line in logged if line["event"] == "http.health_missing"]


async def test_a_start_that_fails_is_repeated_after_a_while() -> None:
    """A server may have been corrected, instead of the file."""
    answers: list[ConfigError | int] = [WRONG, WRONG, 0]

    async def run(_settings: Settings) -> int:
        answer = answers.pop(0)
        if isinstance(answer, ConfigError):
            raise answer
        return answer

    files = Files(a_settings())
    assert await ConfigWait(files.load, run, read_seconds=0.01, retry_seconds=0.02).run() == 0
    assert not answers


async def test_a_signal_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    files = Files(WRONG)

    async def run(_settings: Settings) -> int:
        raise AssertionError

    running = asyncio.create_task(ConfigWait(files.load, run, read_seconds=0.01).run())
    await until(lambda: files.reads > 2)
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        os.kill(os.getpid(), number)
    reads = files.reads
    await until(lambda: files.reads > reads + 2)
    os.kill(os.getpid(), signal.SIGTERM)
    assert await running == 0


async def test_a_taken_port_does_not_end_the_wait() -> None:
    files = Files(WRONG)
    server = await asyncio.start_server(lambda _reader, _writer: None, "0.0.0.0", 0)
    port = server.sockets[0].getsockname()[1]

    async def run(_settings: Settings) -> int:
        return 0

    with capture_logs() as logged:
        running = asyncio.create_task(ConfigWait(files.load, run, health_port=port, read_seconds=0.01).run())
        await until(lambda: files.reads > 2)
        files.found = [a_settings()]
        assert await running == 0
    assert [line for line in logged if line["event"] == "http.health_failed"]
    server.close()


@pytest.mark.slow
def test_the_command_waits_for_the_file_and_for_the_secret_that_it_names(tmp_path: Path) -> None:
    """As in a pod whose ConfigMap and Secret come late."""
    ports = PortReservation()
    port, closed = ports.reserve(), ports.reserve()
    file, secret, log = tmp_path / "config.yaml", tmp_path / "password", tmp_path / "log"

    def logged(event: str, text: str) -> bool:
        assert process.poll() is None, log.read_text()
        return any(event in line and text in line for line in log.read_text().splitlines())

    command = [str(Path(sys.executable).with_name("cdc-daemon")), "run", "--config", str(file)]
    with log.open("w") as output:
        process = subprocess.Popen([*command, "--wait-for-config", "--health-port", str(port)], stderr=output)
    try:
        wait_for("the missing file", lambda: logged("daemon.configuration_wrong", str(file)))
        assert get(port, "/livez")[0] == 200
        settings = {
            "tail": False,
            "poll": [{"table": "k.t", "strategy": "scan"}],
            "mappings": {"user": {"table": "k.t", "alias": "a"}},
            "state": {"directory": "state"},
            "cassandra": {"port": closed, "username": "u", "password_file": "password"},
            "http": {"port": None, "health_port": port},
        }
        file.write_text(json.dumps(settings))
        wait_for("the missing secret", lambda: logged("daemon.configuration_wrong", str(secret)))
        assert get(port, "/readyz")[0] == 503
        secret.write_text("hunter2\n")
        wait_for("the start", lambda: logged("startup.waiting", "cassandra"))
        assert "cdc_daemon_configuration_valid 1.0" in get(port, "/metrics")[1]
    finally:
        process.terminate()
        assert process.wait(30) == 0
        ports.close()


async def test_a_signal_between_the_wait_and_the_start_is_not_lost() -> None:
    files = Files(WRONG, a_settings())
    started: list[Settings] = []

    def load() -> Settings:
        settings = files.load()
        if files.reads == 3:  # the wait is over, and the daemon does not handle signals yet
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.2)  # in a thread, while the loop runs the signal's handler
        return settings

    async def run(settings: Settings) -> int:
        started.append(settings)
        return 7

    assert await asyncio.wait_for(ConfigWait(load, run, read_seconds=0.02).run(), 30) == 0
    assert not started
