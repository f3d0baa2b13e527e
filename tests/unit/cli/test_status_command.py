"""`cdc-daemon status`, `pause` and `resume` against a daemon's HTTP surface."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cdc_daemon.cli.main import app
from cdc_daemon.model.errors import CdcError, ConfigError
from tests.unit.cli.serving import Served

NOW = time.time()
RUNNING: dict[str, Any] = {
    "version": "1.2.3",
    "node": "node-1",
    "started": NOW - 7300,
    "state": "running",
    "tail": True,
    "position": "12:3456",
    "pending": 1234,
    "spooled": 5,
    "paused": False,
    "backlog": {"bytes": 3 * 1024**2, "segments": 2},
    "cassandra": {"available": True, "nodes": 3, "nodes_up": 2, "since": NOW - 7300},
    "elasticsearch": {
        "available": True,
        "failure": None,
        "engine": "OpenSearch",
        "version": "2.19.5",
        "since": NOW - 7300,
    },
    "freshness": {"p50": 0.145, "p99": 12.5, "behind": 0.0, "window": 60.0},
    "rate": {"documents": 301.5},
    "cdc_raw": {"bytes": 1024**3, "limit": 4 * 1024**3, "segments": 33},
    "dead_letters": 0,
    "open_jobs": 1,
    "sources": [{"name": "commit log", "state": "running", "since": NOW - 65, "facts": []}],
    "mappings": [
        {
            "name": "user",
            "table": "sunbird.user",
            "alias": "user_alias",
            "p50": 0.145,
            "p99": None,
            "newest_write": NOW - 90_000,
            "documents": {"indexed": 70000, "deleted": 12},
        }
    ],
    "problems": [],
}
TROUBLE = [
    {"severity": "critical", "text": "Elasticsearch takes no writes: changes wait.", "runbook": "cdcelasticsearch"},
    {"severity": "warning", "text": "2 dead letters [kept]."},
]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    token = tmp_path / "token"
    token.write_text("a-token\n")
    served = Served(token, scopes=("admin",))
    served.daemon.state = dict(RUNNING)
    yield served
    served.stop()


def run(served: Served, command: str, *arguments: str) -> Result:
    return CliRunner().invoke(app, [command, "--url", served.url, *arguments])


def run_as_operator(served: Served, command: str, *arguments: str) -> Result:
    return run(served, command, "--token-file", str(served.token_file), *arguments)


def is_paused(served: Served) -> bool:
    assert served.daemon.control is not None
    return bool(served.daemon.control.paused)


def test_a_healthy_daemon(served: Served) -> None:
    result = run(served, "status")
    assert result.exit_code == 0, result.output
    shown = result.stdout
    assert "node-1: Keeping up" in shown
    for part in (
        *("cdc-daemon 1.2.3", "up 2h", "12:3456"),
        *("145 ms", "12.5 s", "301.5 documents/s"),
        *("1,234 keys", "5 on disk", "3.0 MiB unread in 2 segments"),
        *("1.0 GiB of 4.0 GiB (25%)", "33 segments"),
        *("available for 2h", "2 of 3 nodes up", "OpenSearch 2.19.5, available for 2h"),
        *("commit log", "sunbird.user", "user_alias", "70,012"),
    ):
        assert part in shown, f"{part} in\n{shown}"


def test_trouble_is_told_first_and_by_the_exit_code(served: Served) -> None:
    served.daemon.state |= {
        "problems": TROUBLE,
        "dead_letters": 2,
        "elasticsearch": {"available": False, "failure": "cluster_block_exception", "since": NOW - 11_000},
    }
    result = run(served, "status")
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    first, *others = result.stdout.splitlines()
    assert first == "node-1: Elasticsearch takes no writes: changes wait."
    assert "critical  Elasticsearch takes no writes: changes wait. (runbook: #cdcelasticsearch)" in result.stdout
    assert "warning   2 dead letters [kept]." in result.stdout
    assert any("unavailable for 3h: cluster_block_exception" in line for line in others)


def test_everything_about_it_as_json(served: Served) -> None:
    result = run(served, "status", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == json.loads(json.dumps(served.daemon.state))
    served.daemon.state["problems"] = TROUBLE
    result = run(served, "status", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["problems"] == TROUBLE


@pytest.mark.parametrize("state", ["starting", "stopping"])
def test_one_that_does_not_run_is_not_healthy(served: Served, state: str) -> None:
    common = {name: RUNNING[name] for name in ("version", "node", "started")}
    served.daemon.state = {**common, "state": state, "waiting_for": None}
    result = run(served, "status")
    assert result.exit_code == 1
    assert result.stdout.startswith(f"node-1: {state.capitalize()}\n")


@pytest.mark.parametrize("name", sorted(RUNNING.keys() - {"state"}))
def test_another_version_may_say_less(served: Served, name: str) -> None:
    # One that has no list of problems yet is not known to be healthy.
    code = 1 if name == "problems" else 0
    del served.daemon.state[name]
    assert run(served, "status").exit_code == code
    served.daemon.state[name] = None
    assert run(served, "status").exit_code == code


def test_it_needs_no_token_whatever_the_environment_names(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDC_DAEMON_TOKEN_FILE", "/no/such/file")
    monkeypatch.setenv("CDC_DAEMON_URL", served.url)
    assert CliRunner().invoke(app, ["status"]).exit_code == 0
    assert run_as_operator(served, "status").exit_code == 0


def test_one_that_is_not_reachable(unused_tcp_port: int) -> None:
    for command in ("status", "pause", "resume"):
        url = f"http://127.0.0.1:{unused_tcp_port}"
        result = CliRunner().invoke(app, [command, "--url", url, "--wait", "0"])
        assert isinstance(result.exception, CdcError), result.output
        assert not isinstance(result.exception, ConfigError)
        assert result.exit_code == 1


def test_another_server_at_its_address(served: Served) -> None:
    served.daemon.state = {"tagline": "You Know, for Search"}
    result = run(served, "status")
    assert isinstance(result.exception, CdcError)
    assert "expected the status of a cdc-daemon" in result.exception.message


def test_one_that_the_configuration_does_not_let_listen(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "commit_log: {cdc_raw_directory: raw}\nstate: {directory: s}\nhttp: {enabled: false}\n"
        "mappings: {user: {table: k.t, alias: a}}\n"
    )
    result = CliRunner().invoke(app, ["status", "--config", str(config)])
    assert isinstance(result.exception, ConfigError)


def test_pause_and_resume(served: Served) -> None:
    paused = run_as_operator(served, "pause")
    assert paused.exit_code == 0, paused.output
    assert is_paused(served)
    assert paused.stdout.startswith("paused: ")
    assert "cdc-daemon resume" in paused.stdout
    assert json.loads(run_as_operator(served, "pause", "--json").stdout)["paused"] is True
    resumed = run_as_operator(served, "resume")
    assert resumed.exit_code == 0
    assert not is_paused(served)
    assert resumed.stdout.startswith("resumed: ")
    assert json.loads(run_as_operator(served, "resume", "--json").stdout)["paused"] is False


@pytest.mark.parametrize("command", ["pause", "resume"])
def test_without_an_operators_token_nothing_is_done(served: Served, command: str) -> None:
    result = run(served, command)
    assert isinstance(result.exception, CdcError)
    assert "--token-file" in str(result.exception.hint)
    assert not is_paused(served)


def test_the_screen_has_no_terminal_sequences_in_a_pipe(served: Served) -> None:
    assert "\x1b" not in run(served, "status").stdout


def test_status_gives_up_on_one_that_hangs() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        result = CliRunner().invoke(app, ["status", "--url", url, "--wait", "0.3"])
    assert isinstance(result.exception, CdcError)
    assert "timed out" in result.exception.message


OTHER: dict[str, Any] = {
    "peer": "0-0-2",
    "error": None,
    "node": "node-2",
    "state": "running",
    "freshness": {"behind": 0.5},
    "pending": 7,
    "backlog": {"bytes": 2048, "segments": 1},
    "dead_letters": 0,
    "open_jobs": 1,
    "jobs": [
        {"job": "ab12", "kind": "reconcile", "origin": "gap", "types": ["user"], "fraction": 0.25, "rows": 5000},
    ],
    "problems": [],
}


def test_all_daemons_are_shown_together(served: Served) -> None:
    served.daemon.others = [OTHER]
    result = run(served, "status", "--all")
    assert result.exit_code == 0, result.output
    assert "2 of 2 daemons are healthy" in result.stdout
    for part in ("node-1", "node-2", "0.5 s", "2.0 KiB", "1,234", "ab12", "reconcile", "gap", "25.0%", "5,000"):
        assert part in result.stdout, f"{part} in\n{result.stdout}"


def test_a_daemon_that_does_not_answer_is_shown_as_such(served: Served) -> None:
    served.daemon.others = [
        {**OTHER, "problems": TROUBLE, "state": "running"},
        {"peer": "0-0-3", "state": "unreachable", "error": "expected an answer within 2 s, found none"},
    ]
    result = run(served, "status", "--all")
    assert result.exit_code == 1
    assert "1 of 3 daemons are healthy" in result.stdout
    lines = result.stdout.splitlines()
    assert any("0-0-3" in line and "unreachable" in line for line in lines), result.stdout
    assert any("node-2" in line and "Elasticsearch" in line for line in lines), result.stdout
    listed = json.loads(run(served, "status", "--all", "--json").stdout)
    assert [each["state"] for each in listed] == ["running", "running", "unreachable"]
    assert listed[2]["error"] == "expected an answer within 2 s, found none"


def test_a_lone_daemon_says_that_it_asks_no_others(served: Served) -> None:
    served.daemon.others = []
    result = run(served, "status", "--all")
    assert result.exit_code == 0
    assert "asks no others" in result.stdout
