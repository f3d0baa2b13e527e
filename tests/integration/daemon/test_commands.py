"""The commands of an operator against a running daemon: those of the runbook, and a pause."""

from __future__ import annotations

import gzip
import json
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cdc_daemon.cli.main import app
from tests.documented import RAW, SEGMENT, STATE, daemon_commands
from tests.integration.daemon.harness import wait_for
from tests.integration.daemon.stage import Stage

DATED = {"dynamic": "strict", "properties": {"id": {"type": "integer"}, "day": {"type": "date"}}}


@pytest.fixture
def operated(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A daemon at work, with a row that it cannot write, a damaged segment's copy, and an operator's environment."""
    token = tmp_path / "token"
    token.write_text("a-token\n")
    tokens = [{"name": "operator", "file": str(token), "scopes": ["sync", "admin"]}]
    stage.daemon.config["http"] = {"port": 0, "auth": {"tokens": tokens}}
    stage.table("user", "id int PRIMARY KEY, day text", mappings=DATED)
    stage.daemon.run()
    quarantine = stage.daemon.state / "quarantine"
    quarantine.mkdir()
    (quarantine / SEGMENT.stem).write_bytes(gzip.decompress(SEGMENT.read_bytes()))
    for number, day in enumerate(("2024-01-01", "yesterday")):
        stage.execute("INSERT INTO {ks}.user (id, day) VALUES (%s, %s)", [number, day])
    stage.settle()
    monkeypatch.setenv("CDC_DAEMON_CONFIG", str(stage.daemon.config_path))
    monkeypatch.setenv("CDC_DAEMON_URL", stage.daemon.url)
    monkeypatch.setenv("CDC_DAEMON_TOKEN_FILE", str(token))
    return stage


def run(command: str) -> Result:
    return CliRunner().invoke(app, shlex.split(command)[1:])


def test_the_runbooks_commands_work_on_a_real_daemon(operated: Stage) -> None:
    letter = next(each["id"] for each in letters() if each["table"] == "user")
    # The type whose row cannot be written is not the one whose index is built anew: nothing but equal is put in place.
    meant = {"'TYPE…'": "sentinel", "TYPE": "sentinel", " ID": f" {letter}", STATE: str(operated.daemon.state)}
    meant[RAW] = str(operated.box.cassandra.cdc_raw_directory)
    failed = {}
    for command in dict.fromkeys(daemon_commands()):
        for word, instead in meant.items():
            command = command.replace(word, instead)  # noqa: PLW2901 -- as the operator reads it
        for line in dict.fromkeys((command, command.removesuffix(" --dry-run"))):
            result = run(line)
            # With a dead letter the daemon is not healthy, and no replay helps that one.
            allowed = {0, 1} if "status" in line or "replay" in line else {0}
            if result.exit_code not in allowed:
                failed[line] = (result.exit_code, result.output, result.exception)
    assert not failed
    assert operated.daemon.alive


def letters() -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(run("cdc-daemon dead-letters list --json").stdout)["dead_letters"]
    return found


def test_a_pause_is_shown_and_ends_with_resume(operated: Stage) -> None:
    assert run("cdc-daemon pause").exit_code == 0
    operated.execute("INSERT INTO {ks}.user (id, day) VALUES (2, '2024-01-02')")
    wait_for("the pause to be a problem", paused_problem)
    shown = run("cdc-daemon status")
    assert shown.exit_code == 1
    assert "paused" in shown.stdout
    assert operated.get("user", "2") is None
    assert run("cdc-daemon resume").exit_code == 0
    wait_for("the document", lambda: operated.get("user", "2"))
    wait_for("no problem of a pause", lambda: not paused_problem())


def paused_problem() -> bool:
    status = json.loads(run("cdc-daemon status --json").stdout)
    return any("paused" in problem["text"] for problem in status["problems"])
