"""`cdc-daemon indices`, `rollback`, `drop-index` and `backfill --new-index` against a daemon's HTTP surface."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cdc_daemon.cli.main import app
from cdc_daemon.model.errors import CdcError, ConfigError
from tests.unit.cli.serving import Served

PLAN = {"index": "user-000002", "in_place_of": "user-000001", "created": True, "resumed": False, "swapped": True}


@pytest.fixture
def token(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text("a-token\n")
    return file


@pytest.fixture
def served(token: Path) -> Iterator[Served]:
    served = Served(token, scopes=("admin",))
    yield served
    served.stop()


def run(served: Served, token: Path, command: str, *arguments: str) -> Result:
    return CliRunner().invoke(app, [command, "--url", served.url, "--token-file", str(token), *arguments])


def test_they_are_listed(served: Served, token: Path) -> None:
    listed = run(served, token, "indices")
    assert listed.exit_code == 0, listed.output
    assert "user-000002" in listed.stdout
    assert "kept for a rollback" in listed.stdout
    assert json.loads(run(served, token, "indices", "--json").stdout)[0]["other"] == "user-000001"


def test_the_one_before_is_put_back(served: Served, token: Path) -> None:
    planned = run(served, token, "rollback", "user", "--dry-run")
    assert "user-000002 would be live again" in planned.stdout
    done = run(served, token, "rollback", "user")
    assert (done.exit_code, done.stdout) == (0, "user: user-000001 is live again, user-000002 is kept\n")
    mended = run(served, token, "rollback", "user", "--behind")
    assert "the job 0000000000000000 writes the missing changes" in mended.stdout


def test_the_second_one_is_deleted(served: Served, token: Path) -> None:
    planned = run(served, token, "drop-index", "user", "--dry-run")
    assert planned.stdout == "user: user-000001 would be deleted, user-000002 stays live\n"
    done = run(served, token, "drop-index", "user", "--json")
    assert json.loads(done.stdout)["dropped"] == "user-000001"


@pytest.mark.parametrize("command", ["rollback", "drop-index"])
def test_where_there_is_none(served: Served, token: Path, command: str) -> None:
    result = run(served, token, command, "batch")
    assert isinstance(result.exception, CdcError)
    assert "found only the live one" in result.exception.message


@pytest.mark.parametrize(
    ("state", "plan", "arguments", "told"),
    [
        ("done", PLAN, [], "user-000002 has replaced user-000001"),
        ("failed", {**PLAN, "swapped": False}, [], "user-000001 is still live"),
    ],
)
def test_a_new_index(
    served: Served, token: Path, *, state: str, plan: Mapping[str, Any], arguments: list[str], told: str
) -> None:
    jobs = served.daemon.range_jobs
    assert jobs is not None

    def end() -> None:
        while not jobs.reports:
            time.sleep(0.01)
        jobs.end(next(iter(jobs.reports)), state, new_index={"user": plan})

    ending = threading.Thread(target=end)
    ending.start()
    result = run(served, token, "backfill", "user", "--new-index", *arguments)
    ending.join()
    assert result.exit_code == (1 if state == "failed" else 0)
    assert told in result.stdout
    assert jobs.requests[0].new_index


def test_a_dry_run_names_the_new_index(served: Served, token: Path) -> None:
    assert served.daemon.estimator is not None
    plan = {"index": "user-000002", "in_place_of": "user-000001", "resumed": False}
    served.daemon.estimator.more = {"new_index": plan}
    result = run(served, token, "backfill", "user", "--new-index", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "user: user-000002 would replace user-000001" in result.stdout
    assert served.daemon.estimator.requests[0].new_index
    assert served.daemon.range_jobs is not None
    assert not served.daemon.range_jobs.requests


def test_a_new_index_needs_all_rows(served: Served, token: Path) -> None:
    result = run(served, token, "backfill", "user", "--new-index", "--where-token", "0:5")
    assert isinstance(result.exception, ConfigError)
