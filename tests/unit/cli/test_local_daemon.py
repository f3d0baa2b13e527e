"""Commands on the daemon's host use the control socket: without a token, and with a clear answer when they cannot."""

from __future__ import annotations

import json
import os
import pty
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cdc_daemon.cli import status_watch
from cdc_daemon.cli.client import DaemonClient
from cdc_daemon.cli.local_daemon import LocalDaemon
from cdc_daemon.cli.main import app
from cdc_daemon.model.control_socket import CONTROL_SOCKET, LONGEST_ADDRESS, socket_address
from cdc_daemon.model.errors import CdcError, ConfigError
from tests.unit.cli.serving import Served

RUNNING = {"version": "1", "node": "node-1", "state": "running", "problems": []}


@pytest.fixture
def state(tmp_path: Path) -> Path:
    state = tmp_path / "state"
    state.mkdir()
    return state


@pytest.fixture
def served(tmp_path: Path, state: Path) -> Iterator[Served]:
    token = tmp_path / "token"
    token.write_text("a-token\n")
    served = Served(token, scopes=("admin",), state=state)
    served.daemon.state = dict(RUNNING)
    yield served
    served.stop()


def configure(tmp_path: Path, http: str = "enabled: false", more: str = "") -> Path:
    """Write a configuration with the state directory `state`."""
    config = tmp_path / "config.yaml"
    config.write_text(
        f"commit_log: {{cdc_raw_directory: raw}}\nstate: {{directory: state}}\nhttp: {{{http}}}\n"
        f"mappings: {{user: {{table: k.t, alias: a}}}}\n{more}"
    )
    return config


def run(config: Path, *command: str) -> Result:
    return CliRunner().invoke(app, [*command, "--config", str(config)])


def bind(listener: socket.socket, state: Path) -> None:
    """Bind the control socket of a process that is no daemon."""
    with socket_address(state / CONTROL_SOCKET) as address:
        listener.bind(address)


def served_at(served: Served) -> str:
    return f"port: {served.url.rpartition(':')[2]}"


def test_operators_on_the_host_need_no_token(served: Served, tmp_path: Path) -> None:
    config = configure(tmp_path, served_at(served))
    assert run(config, "status").exit_code == 0
    assert run(config, "pause").exit_code == 0
    assert served.daemon.control is not None
    assert served.daemon.control.paused is not None
    assert served.daemon.control.paused.by == "local operator"
    assert run(config, "resume").exit_code == 0
    replayed = run(config, "dead-letters", "replay", "--all", "--json")
    assert replayed.exit_code == 0, replayed.output
    assert json.loads(replayed.stdout)["total"] == 0
    synced = run(config, "sync", "user", "u1")
    assert synced.exit_code == 0, synced.output
    # The same requests over TCP need the token.
    refused = run(config, "pause", "--url", served.url)
    assert isinstance(refused.exception, CdcError)
    assert "401" in refused.exception.message
    assert run(config, "pause", "--token-file", str(served.token_file)).exit_code == 0


def test_no_port_is_needed(served: Served, tmp_path: Path) -> None:
    assert served.url
    assert run(configure(tmp_path), "status").exit_code == 0


def test_a_configuration_that_became_wrong_still_names_the_state_directory(served: Served, tmp_path: Path) -> None:
    assert served.url
    config = configure(tmp_path, more="no_such_section: {}\n")
    assert run(config, "status").exit_code == 0
    config.write_text("state: {directory: '${NOT_SET}'}\n")
    assert isinstance(run(config, "status").exception, ConfigError)
    config.write_text("- a list\n")
    assert isinstance(run(config, "status").exception, ConfigError)


def test_a_socket_without_a_process(state: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as abandoned:
        bind(abandoned, state)
    result = run(configure(tmp_path), "status", "--wait", "0")
    assert isinstance(result.exception, CdcError)
    assert "it has ended without a stop" in result.exception.message


def test_no_socket_leaves_the_address_of_the_configuration(tmp_path: Path, state: Path) -> None:
    assert not list(state.iterdir())
    token = tmp_path / "token"
    token.write_text("a-token\n")
    served = Served(token, scopes=("admin",))
    try:
        served.daemon.state = dict(RUNNING)
        config = configure(tmp_path, served_at(served))
        assert run(config, "status").exit_code == 0
        result = run(config, "pause")
        assert isinstance(result.exception, CdcError)
        assert "there is no control socket" in str(result.exception.hint)
        assert "--token-file" in str(result.exception.hint)
    finally:
        served.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_is_told_whose_it_is(served: Served, tmp_path: Path) -> None:
    config = configure(tmp_path)
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(folder.stat().st_mode | 0o055)
    code = "from cdc_daemon.cli.local_daemon import LocalDaemon; import os, sys; from pathlib import Path\n"
    code += "daemon = LocalDaemon(Path(sys.argv[1])); os.setuid(65534)\n"
    code += "assert daemon.send('GET', '/livez', None, {}, 5) is None\nprint(daemon.trouble)"
    result = subprocess.run(
        [sys.executable, "-c", code, str(config.parent / "state")], capture_output=True, text=True, check=True
    )
    assert served.url
    assert "this user may not open the control socket" in result.stdout
    assert "run the command as user root" in result.stdout


def test_a_path_that_is_too_long_for_an_address(tmp_path: Path) -> None:
    deep = tmp_path / ("a" * LONGEST_ADDRESS) / "state"
    deep.mkdir(parents=True)
    token = tmp_path / "token"
    token.write_text("a-token\n")
    served = Served(token, state=deep)
    try:
        client = DaemonClient(None, local=LocalDaemon(deep), patience=0)
        assert "started" in client.ask("GET", "/readyz")["checks"]
    finally:
        served.stop()
    assert not (deep / CONTROL_SOCKET).exists()


def test_an_answer_that_ends_early_is_asked_for_again(state: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        bind(listener, state)
        listener.listen(0)
        client = DaemonClient(None, local=LocalDaemon(state), patience=0.2)
        with pytest.raises(CdcError, match="timed out"):
            client.ask("GET", "/status")


def test_watching_draws_the_status_each_second_until_ctrl_c(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(tmp_path)
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            served.stop()
        if len(pauses) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", pause)
    result = run(config, "status", "--watch")
    assert result.exit_code == 0, result.output
    assert pauses == [status_watch.INTERVAL] * 4
    assert result.stdout.count("node-1: Keeping up") == 4
    assert result.stdout.count("The daemon does not answer for ") == 2
    assert isinstance(run(config, "status", "--watch", "--json").exception, ConfigError)


def test_watching_on_a_terminal_ends_by_the_signal_of_ctrl_c(served: Served, tmp_path: Path) -> None:
    assert served.url
    config = configure(tmp_path)
    leader, follower = pty.openpty()
    command = [str(Path(sys.executable).with_name("cdc-daemon")), "status", "--all", "--watch", "--config", str(config)]
    process = subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower)
    os.close(follower)
    shown = b""
    try:
        # On a terminal the whole screen is drawn again.
        while shown.count(b"daemons are healthy") < 2:
            shown += os.read(leader, 65536)
        process.send_signal(2)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(leader)
