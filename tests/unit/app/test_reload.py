"""A reload: mistakes are refused with all of them, tokens and limits change in place, files are watched."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import generate_latest
from structlog.testing import capture_logs

from cdc_daemon.app import reload as reloading
from cdc_daemon.app.config_change import ConfigChange
from cdc_daemon.app.config_files import ConfigFile
from cdc_daemon.app.reload import Reloader
from cdc_daemon.app.serving import serving
from cdc_daemon.config import Settings
from cdc_daemon.model.errors import ConfigError
from cdc_daemon.telemetry import logs
from cdc_daemon.telemetry.metrics import Metrics
from tests.unit.http.certificates import Authority
from tests.unit.http.fake import FakeDaemon


class Parts:
    """Stands for the parts: remembers the settings that they were composed with; `error` is why they do not fit."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.composition = None
        self.composed: list[Settings] = []
        self.error: ConfigError | None = None
        self.servers = asyncio.Event()
        self.servers.set()

    async def replace(self, settings: Settings) -> None:
        self.composed.append(settings)
        if self.error is not None:
            raise self.error
        await self.servers.wait()
        self.settings = settings


class Reloaded:
    """A daemon's listeners and a reloader of its file."""

    def __init__(self, file: Path, reloader: Reloader, parts: Parts, metrics: Metrics, port: int) -> None:
        self.file = file
        self.reloader = reloader
        self.parts = parts
        self.metrics = metrics
        self.port = port
        self.applied: list[ConfigChange] = []
        self.levels: list[str] = []

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"cdc_daemon_{name}", labels)


def write(file: Path, **sections: Any) -> None:
    """Write a configuration with these sections."""
    usual = {
        "commit_log": {"cdc_raw_directory": "raw"},
        "state": {"directory": "state"},
        "http": {"port": 0},
        "mappings": {"user": {"table": "k.t", "alias": "a"}},
    }
    file.write_text(yaml.safe_dump({**usual, **sections}))


def tokens(*values: str) -> dict[str, Any]:
    hashes = [f"sha256:{hashlib.sha256(value.encode()).hexdigest()}" for value in values]
    return {"tokens": [{"name": "operator", "hash": each, "scopes": ["admin"]} for each in hashes]}


@asynccontextmanager
async def reloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **sections: Any) -> AsyncIterator[Reloaded]:
    file = tmp_path / "config.yaml"
    write(file, **sections)
    (tmp_path / "state").mkdir(exist_ok=True)
    config = ConfigFile(file)
    settings = config.load()
    parts, metrics = Parts(settings), Metrics()
    with capture_logs() as lines:
        async with serving(FakeDaemon(), settings.http, state=settings.state.directory) as listeners:
            (port,) = [line["port"] for line in lines if line["event"] == "http.listening"]
            applied: list[ConfigChange] = []
            reloader = Reloader(config, parts, listeners, metrics, applied=applied.append)  # type: ignore[arg-type]
            found = Reloaded(file, reloader, parts, metrics, port)
            found.applied = applied
            monkeypatch.setattr(logs, "configure", lambda settings: found.levels.append(settings.level))
            yield found


def pause_with(port: int, token: str | None, context: ssl.SSLContext | None = None) -> int:
    """Return the status of an operator's request."""
    scheme = "http" if context is None else "https"
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(f"{scheme}://127.0.0.1:{port}/admin/pause", method="POST", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60, context=context) as answer:
            status: int = answer.status
            return status
    except urllib.error.HTTPError as error:
        return error.code


async def test_all_mistakes_are_named_and_nothing_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with reloaded(tmp_path, monkeypatch) as daemon:
        write(daemon.file, log={"level": "loud"}, pipeline={"workers": 0}, no_such={})
        with capture_logs() as lines:
            report = await daemon.reloader.reload("SIGHUP")
        assert report["result"] == "refused"
        for part in ("3 mistakes", "log.level", "pipeline.workers", "no_such"):
            assert part in report["error"]
        (line,) = [line for line in lines if line["event"] == "config.refused"]
        assert (line["by"], line["log_level"]) == ("SIGHUP", "error")
        assert daemon.reloader.status()["config"]["refused"] == report["error"]
        assert daemon.metric("config_last_reload_successful") == 0
        assert daemon.metric("config_reloads_total", result="refused") == 1
        assert daemon.metric("config_generation") == 1
        assert (daemon.parts.composed, daemon.applied, daemon.levels) == ([], [], [])

        write(daemon.file)
        assert (await daemon.reloader.reload("SIGHUP"))["result"] == "unchanged"
        assert daemon.metric("config_last_reload_successful") == 1
        assert daemon.reloader.status()["config"]["refused"] is None


async def test_tokens_limits_and_the_log_level_change_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with reloaded(tmp_path, monkeypatch, http={"port": 0, "auth": tokens("old")}) as daemon:
        assert await asyncio.to_thread(pause_with, daemon.port, "old") == 200
        write(daemon.file, http={"port": 0, "auth": tokens("new"), "max_connections": 7}, log={"level": "debug"})
        report = await daemon.reloader.reload("SIGHUP")
        assert (report["result"], report["generation"]) == ("applied", 2)
        assert report["sections"] == ["http", "log"]
        assert await asyncio.to_thread(pause_with, daemon.port, "old") == 401
        assert await asyncio.to_thread(pause_with, daemon.port, "new") == 200
        assert daemon.levels == ["debug"]
        assert daemon.parts.composed == []
        assert daemon.parts.settings.http.max_connections == 7
        assert len(daemon.applied) == 1


async def test_other_certificates_change_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")

    def section(authority: Authority) -> dict[str, Any]:
        certificate, key = authority.issue(f"by-{authority.file.stem}")
        return {"port": 0, "tls": {"certificate_file": str(certificate), "key_file": str(key)}}

    async with reloaded(tmp_path, monkeypatch, http=section(old)) as daemon:
        trusting_new = ssl.create_default_context(cafile=new.file)
        with pytest.raises(urllib.error.URLError):
            await asyncio.to_thread(pause_with, daemon.port, None, trusting_new)
        write(daemon.file, http={**section(new), "tls": {**section(new)["tls"], "key_file": str(old.file)}})
        assert (await daemon.reloader.reload("SIGHUP"))["result"] == "refused"
        write(daemon.file, http=section(new))
        assert (await daemon.reloader.reload("SIGHUP"))["result"] == "applied"
        assert await asyncio.to_thread(pause_with, daemon.port, None, trusting_new) == 403


async def test_what_the_parts_use_composes_them_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with reloaded(tmp_path, monkeypatch) as daemon:
        write(daemon.file, pipeline={"workers": 2}, http={"port": 0, "auth": tokens("new")})
        assert (await daemon.reloader.reload("SIGHUP"))["result"] == "applied"
        assert [each.pipeline.workers for each in daemon.parts.composed] == [2]

        daemon.parts.error = ConfigError("the index is refused", index="a-000001")
        write(daemon.file, pipeline={"workers": 3}, http={"port": 0, "auth": tokens("newer")})
        report = await daemon.reloader.reload("SIGHUP")
        assert report["result"] == "refused"
        assert "a-000001" in report["error"]
        # Neither half of it is in use.
        assert await asyncio.to_thread(pause_with, daemon.port, "new") == 200
        assert daemon.metric("config_generation") == 2


async def test_what_needs_a_restart_is_named_and_the_rest_is_applied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with reloaded(tmp_path, monkeypatch) as daemon:
        write(daemon.file, http={"port": 9}, pipeline={"workers": 2})
        with capture_logs() as lines:
            report = await daemon.reloader.reload("SIGHUP")
        assert report["result"] == "applied"
        assert report["restart_needed"] == ["http.port"]
        assert [line["keys"] for line in lines if line["event"] == "config.restart_needed"] == [["http.port"]]
        assert daemon.reloader.status()["config"]["restart_needed"] == ["http.port"]
        again = await daemon.reloader.reload("SIGHUP")
        assert (again["result"], again["restart_needed"]) == ("unchanged", ["http.port"])


async def test_parts_that_wait_for_a_server_are_pending_and_a_later_file_replaces_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reloading, "ANSWER_SECONDS", 0.05)
    async with reloaded(tmp_path, monkeypatch) as daemon:
        daemon.parts.servers.clear()
        write(daemon.file, elasticsearch={"hosts": ["http://nowhere:9200"]})
        assert (await daemon.reloader.reload("SIGHUP"))["result"] == "pending"
        assert daemon.metric("config_generation") == 1
        # The previous file again: the settings that ran last are the same, but others wait.
        write(daemon.file)
        assert (await daemon.reloader.reload("SIGHUP"))["result"] == "pending"
        assert len(daemon.parts.composed) == 2
        daemon.parts.servers.set()
        await until(lambda: daemon.metric("config_generation") == 3)


async def test_a_changed_file_is_applied_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reloading, "WATCH_SECONDS", 0.02)
    monkeypatch.setattr(reloading, "RETRY_SECONDS", 0.1)
    secret = tmp_path / "secret"
    secret.write_text("one\n")
    section = {"hosts": ["http://h:9200"], "username": "u", "password_file": str(secret)}
    async with reloaded(tmp_path, monkeypatch, elasticsearch=section) as daemon:
        watching = asyncio.create_task(daemon.reloader.watch())
        secret.write_text("two\n")
        await until(lambda: daemon.metric("config_generation") == 2)
        # As Kubernetes does it: a link to a folder is replaced.
        section["password_file"] = str(tmp_path / "late")
        write(tmp_path / "next.yaml", elasticsearch=section)
        with capture_logs() as lines:
            (tmp_path / "next.yaml").replace(daemon.file)
            await until(lambda: (daemon.metric("config_reloads_total", result="refused") or 0) >= 3)
            # The file that it names arrives later.
            (tmp_path / "late").write_text("three\n")
            await until(lambda: daemon.metric("config_generation") == 3)
        assert len([line for line in lines if line["event"] == "config.refused"]) == 1
        watching.cancel()
        password = daemon.parts.settings.elasticsearch.password
        assert password is not None
        assert password.get_secret_value() == "three"


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 -- nobody sets an event for a test
            await asyncio.sleep(0.01)


def test_gauges_of_what_is_no_longer_configured_are_removed() -> None:
    metrics = Metrics()
    metrics.alias_available.labels("old").set(0)
    metrics.alias_available.labels("kept").set(1)
    metrics.last_acknowledged_write_timestamp_seconds.labels("k", "old").set(1)
    metrics.last_acknowledged_write_timestamp_seconds.labels("k", "kept").set(1)
    metrics.forget(aliases={"old"}, tables={("k", "old")})
    text = {line.split(" ")[0] for line in exported(metrics)}
    assert not any('"old"' in line for line in text)
    assert len([line for line in text if '"kept"' in line]) == 2


def exported(metrics: Metrics) -> list[str]:
    return generate_latest(metrics.registry).decode().splitlines()
