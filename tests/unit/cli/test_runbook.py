"""Every `cdc-daemon` command of docs/runbook.md is run as it is written, in the environment that a pod gives it.

The commands of other programs are in tests/k8s/test_runbook.py.
"""

from __future__ import annotations

import gzip
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from cdc_daemon.cli import main as cli
from cdc_daemon.sources.log.quarantine import ADVICE
from cdc_daemon.store import Store
from cdc_daemon.store.dead_letters import DeadLetter
from cdc_daemon.tablejobs.range_job import JobRequest
from cdc_daemon.tablejobs.runner import RangeJobReport
from tests.documented import (
    RAW,
    SEGMENT,
    STATE,
    TEXT,
    daemon_commands,
)
from tests.unit.cli.serving import Served
from tests.unit.http.fake import FakeRangeJobs

FINDS_FAULT: Final = {"check": "Cassandra and the search engine do not answer here"}
"""Commands whose exit code is 1 here, and why. All others succeed."""


COMMANDS: Final = sorted(set(daemon_commands()))


class EndingJobs(FakeRangeJobs):
    """Ends each job at once: all is equal."""

    async def start(self, request: JobRequest) -> RangeJobReport:
        begun = await super().start(request)
        counts: dict[str, Any] = dict.fromkeys(("missing", "different", "surplus"), 0)
        found = {"rows": 7, "documents": 7, "unsettled": 0, "unreadable": 0, **counts, "left": counts, "examples": {}}
        self.end(begun.job.id, "done", types=dict.fromkeys(request.types, found))
        return self.reports[begun.job.id]


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int) -> Iterator[Path]:
    """A folder with a container's configuration, state, cdc_raw and token, and the environment to find them."""
    state, raw = tmp_path / "state", tmp_path / "cdc_raw"
    for folder in (raw, state / "quarantine"):
        folder.mkdir(parents=True)
        (folder / SEGMENT.stem).write_bytes(gzip.decompress(SEGMENT.read_bytes()))
    config = tmp_path / "config.yaml"
    config.write_text(
        f"cassandra: {{port: {unused_tcp_port}, request_timeout: 1s}}\n"
        f"elasticsearch: {{hosts: ['http://127.0.0.1:{unused_tcp_port}'], request_timeout: 1s}}\n"
        f"commit_log: {{cdc_raw_directory: {raw}}}\nstate: {{directory: {state}}}\n"
        "mappings:\n  user: {table: sunbird.user, alias: user_alias}\n  batch: {table: sunbird.batch, alias: batch}\n"
    )
    letters = [
        DeadLetter(
            kind=kind, reason=reason, detail={"message": "m"}, keyspace="sunbird", table="user", partition_key=b"u1"
        )
        for kind, reason in (("document", "document_parsing_exception"), ("segment", "DamagedSegmentError"))
    ]
    store = Store(state)
    store.dead_letters.add(letters)
    store.close()
    token = tmp_path / "token"
    token.write_text("a-token\n")
    served = Served(token, scopes=("sync", "admin"))
    served.daemon.range_jobs = EndingJobs()
    served.daemon.state |= {"state": "running", "problems": []}
    monkeypatch.setenv("CDC_DAEMON_CONFIG", str(config))
    monkeypatch.setenv("CDC_DAEMON_URL", served.url)
    monkeypatch.setenv("CDC_DAEMON_TOKEN_FILE", str(token))
    yield tmp_path
    served.stop()


def placed(word: str, pod: Path) -> list[str]:
    """Put in the place of a placeholder what it stands for."""
    meant = {"TYPE": ["user"], "TYPE…": ["user", "batch"], "ID": ["1"], "FILE": [f"{pod}/cdc_raw/{SEGMENT.stem}"]}
    return meant.get(word) or [word.replace(STATE, f"{pod}/state").replace(RAW, f"{pod}/cdc_raw")]


def test_the_commands_are_found() -> None:
    assert {"cdc-daemon status", "cdc-daemon status --json", "cdc-daemon check", "cdc-daemon resume"} <= set(COMMANDS)
    assert "cdc-daemon dead-letters replay --all" in COMMANDS
    assert len(COMMANDS) > 15


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_runs_as_it_is_written(
    command: str, pod: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [each for word in shlex.split(command) for each in placed(word, pod)]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr()
    assert int(ended.value.code or 0) == (1 if words[1] in FINDS_FAULT else 0), said.out + said.err
    assert "unexpected " not in said.err
    assert said.out


def test_the_advice_on_damaged_segments_is_that_of_the_log_and_of_check() -> None:
    advice = ADVICE.format(folder=f"{STATE}/quarantine")
    assert advice in " ".join(TEXT.split())
    assert " ".join(TEXT.split()).count("the copies in") == 1, "and there is no other"


@pytest.mark.usefixtures("pod")
def test_segment_letters_are_listed_and_dropped_as_the_runbook_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("list --kind segment", "drop --kind segment", "list --kind segment"):
        assert f"`cdc-daemon dead-letters {command}`" in " ".join(TEXT.split())
        monkeypatch.setattr(sys, "argv", ["cdc-daemon", "dead-letters", *command.split()])
        with pytest.raises(SystemExit):
            cli.main()
    assert "0 dead letters of 1" in capsys.readouterr().out
