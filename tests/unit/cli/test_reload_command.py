"""`cdc-daemon reload` says what was applied and what is needed besides, or all mistakes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cdc_daemon.cli.main import app
from cdc_daemon.model.errors import CdcError, ConfigError
from tests.unit.cli.serving import Served
from tests.unit.http.fake import FakeReloader


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    token = tmp_path / "token"
    token.write_text("a-token\n")
    (tmp_path / "state").mkdir()
    served = Served(token, scopes=("admin",), state=tmp_path / "state")
    yield served
    served.stop()


def run(tmp_path: Path, *options: str) -> Result:
    """Reload through the control socket; nothing else of the configuration is right."""
    config = tmp_path / "config.yaml"
    config.write_text("state: {directory: state}\nno_such: 1\n")
    return CliRunner().invoke(app, ["reload", "--config", str(config), *options])


def test_what_is_applied_and_what_is_needed_besides(served: Served, tmp_path: Path) -> None:
    assert served.url
    result = run(tmp_path)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "applied (generation 2)",
        "mappings added: order",
        "mappings changed: user, batch",
        "sections changed: log",
        "user: id, index: needs a new index: `cdc-daemon backfill user --new-index`",
        "batch: documents keep their previous form until they change: `cdc-daemon backfill batch` renews all",
        "not applied before a restart: http.port",
    ]
    assert json.loads(run(tmp_path, "--json").stdout)["restart_needed"] == ["http.port"]


def test_mistakes_are_shown_all(served: Served, tmp_path: Path) -> None:
    assert isinstance(served.daemon.reloader, FakeReloader)
    served.daemon.reloader.error = "2 mistakes\n  line 1: a\n  line 2: b"
    result = run(tmp_path)
    assert isinstance(result.exception, ConfigError)  # exit code 2
    assert "line 1: a\n  line 2: b" in result.exception.message
    assert served.daemon.reloader.by == ["local operator"]


def test_over_http_it_needs_a_token(served: Served, tmp_path: Path) -> None:
    assert isinstance(served.daemon.reloader, FakeReloader)
    result = run(tmp_path, "--url", served.url)
    assert isinstance(result.exception, CdcError)
    assert served.daemon.reloader.by == []
    assert run(tmp_path, "--url", served.url, "--token-file", str(served.token_file)).exit_code == 0
    assert served.daemon.reloader.by == ["t"]


def test_a_daemon_without_a_file_or_one_that_starts(served: Served, tmp_path: Path) -> None:
    served.daemon.reloader = None
    result = run(tmp_path, "--wait", "0")
    assert isinstance(result.exception, CdcError)
    assert "503" in result.exception.message
