"""`cdc-daemon sync` as a process, against a daemon on real servers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cassandra.concurrent import execute_concurrent_with_args

from tests.integration.daemon.harness import wait_for
from tests.integration.daemon.stage import Stage
from tests.integration.sources.requests.asking import TOKEN
from tests.servers import unparsable

COMMAND = str(Path(sys.executable).with_name("cdc-daemon"))


@pytest.fixture
def command(stage: Stage, tmp_path: Path) -> list[str]:
    """The command with the daemon's address and a token."""
    token = tmp_path / "token"
    token.write_text(TOKEN)
    port = stage.daemon.wait_event("http.listening")["port"]
    return [COMMAND, "sync", "--url", f"http://127.0.0.1:{port}", "--token-file", str(token)]


def test_ids_from_a_file_and_from_standard_input(stage: Stage, command: list[str], tmp_path: Path) -> None:
    names = [f"command-{number}" for number in range(1500)]
    insert = stage.cql.prepare(f"INSERT INTO {stage.keyspace}.unseen (id, name) VALUES (?, ?)")
    execute_concurrent_with_args(stage.cql, insert, [(name, name) for name in names], concurrency=50)
    file = tmp_path / "ids"
    file.write_text("\n".join([*names, "", json.dumps({"id": "command-never"})]))
    done = subprocess.run([*command, "unseen", "--ids-file", str(file), "--json"], capture_output=True, check=True)
    counts = {"asked": 1501, "indexed": 1500, "deleted": 0, "missing": 1}
    assert json.loads(done.stdout) == {**counts, "failures": {}}
    assert stage.get("unseen", names[-1]) == {"id": names[-1], "name": names[-1]}
    stage.execute("DELETE FROM {ks}.unseen WHERE id = 'command-0'")
    done = subprocess.run(
        [*command, "unseen", "--ids-file", "-"], input=b"command-0\n", capture_output=True, check=True
    )
    # Removed by this request, or just before it by the tail, which sees tables without CDC beside those that have it.
    assert b"1 ids: 0 documents indexed" in done.stdout
    assert stage.get("unseen", "command-0") is None


def test_one_that_cannot_be_shown(stage: Stage, command: list[str]) -> None:
    stage.execute("INSERT INTO {ks}.strict (id, day) VALUES ('unshown', 'soon')")
    done = subprocess.run([*command, "strict", "unshown"], capture_output=True, check=False)
    assert done.returncode == 1
    assert b"1 ids failed" in done.stdout
    assert f"unshown: unshown: {unparsable()}".encode() in done.stderr


def test_an_interruption_tells_what_was_done(stage: Stage, command: list[str], tmp_path: Path) -> None:
    file = tmp_path / "ids"
    file.write_text("\n".join(f"interrupted-{number}" for number in range(300_000)))
    before = len(stage.daemon.events("http.request"))
    with subprocess.Popen([*command, "unseen", "--ids-file", str(file)], stderr=subprocess.PIPE) as asking:
        wait_for("a first block", lambda: len(stage.daemon.events("http.request")) > before + 1)
        asking.send_signal(signal.SIGINT)
        _, told = asking.communicate(timeout=120)
    assert asking.returncode == 130, told
    assert b"of the file; continue with --from-line " in told
    assert b"Traceback" not in told
