"""`cdc-daemon backfill` and `jobs` against a daemon's HTTP surface."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cdc_daemon.cli.main import app
from cdc_daemon.model.errors import ConfigError
from tests.unit.cli.serving import Served
from tests.unit.http.fake import FakeRangeJobs


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


@pytest.fixture
def ending(served: Served) -> Iterator[Callable[..., None]]:
    """Return what ends the first job that is started, with a state and a report."""
    threads: list[threading.Thread] = []

    def end(state: str, **found: object) -> None:
        def wait() -> None:
            while not jobs(served).reports:
                time.sleep(0.01)
            jobs(served).end(next(iter(jobs(served).reports)), state, **found)

        threads.append(threading.Thread(target=wait))
        threads[0].start()

    yield end
    for thread in threads:
        thread.join()


def jobs(served: Served) -> FakeRangeJobs:
    assert served.daemon.range_jobs is not None
    return served.daemon.range_jobs


def run(served: Served, token: Path, command: str, *arguments: str) -> Result:
    return CliRunner().invoke(app, [command, "--url", served.url, "--token-file", str(token), *arguments])


def test_a_backfill_is_followed_to_its_end(served: Served, token: Path, ending: Callable[..., None]) -> None:
    ending("done")
    result = run(served, token, "backfill", "user", "batch", "--where-token", "-5:7", "--rate", "10")
    assert result.exit_code == 0, result.output
    assert "user: 7 rows written\nbatch: 7 rows written\n" in result.stdout
    (request,) = jobs(served).requests
    assert (request.types, request.ranges, request.rate) == (("user", "batch"), ((-5, 7),), 10)


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_one_that_does_not_end_well(served: Served, token: Path, ending: Callable[..., None], state: str) -> None:
    ending(state)
    result = run(served, token, "backfill", "user", "--count")
    assert result.exit_code == 1
    assert f"backfill 0000000000000001 {state}" in result.stderr


@pytest.mark.parametrize(
    ("created", "told"),
    [
        (False, "user: user-000001 is still live; no index was created\n"),
        (True, "user: user-000001 is still live; user-000002 is kept"),
    ],
)
def test_a_new_index_that_failed_is_named_only_if_it_exists(
    served: Served, token: Path, ending: Callable[..., None], created: bool, told: str
) -> None:
    plan = {"index": "user-000002", "in_place_of": "user-000001", "created": created, "swapped": False}
    ending("failed", new_index={"user": plan})
    result = run(served, token, "backfill", "user", "--new-index")
    assert result.exit_code == 1
    assert told in result.stdout
    assert ("user-000002" in result.stdout) is created


def test_one_that_nobody_waits_for(served: Served, token: Path) -> None:
    result = run(served, token, "backfill", "user", "--detach", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["state"] == "queued"


@pytest.mark.parametrize("kind", ["backfill", "reconcile"])
def test_one_that_nobody_waits_for_says_how_to_ask_for_it(served: Served, token: Path, kind: str) -> None:
    result = run(served, token, kind, "user", "--detach")
    assert result.exit_code == 0
    assert result.stdout == f"{kind} 0000000000000001 queued: cdc-daemon jobs show 0000000000000001\n"


@pytest.mark.parametrize(
    ("found", "told", "code"),
    [
        ({}, "user: EQUAL, 7 rows, 7 documents", 0),
        ({"missing": 2, "repaired": 2}, "user: REPAIRED, 7 rows, 7 documents", 0),
        ({"missing": 2, "left": {"missing": 2, "different": 0, "surplus": 0}}, "user: NOT EQUAL, ", 1),
        ({"unsettled": 3}, "user: UNDECIDED, 7 rows, 7 documents\n  3 not compared: they kept changing", 1),
        ({"unreadable": 1}, "user: UNDECIDED, 7 rows, 7 documents\n  1 rows without a valid document", 1),
    ],
)
def test_a_reconcile_says_equal_only_of_what_it_has_judged(
    served: Served, ending: Callable[..., None], found: Mapping[str, object], told: str, code: int
) -> None:
    nothing = dict.fromkeys(("missing", "different", "surplus"), 0)
    counts = dict.fromkeys((*nothing, "repaired", "unsettled", "unreadable"), 0)
    whole = {"rows": 7, "documents": 7, **counts, "left": nothing, "examples": {}, **found}
    ending("done", types={"user": whole})
    token = served.token_file
    result = run(served, token, "reconcile", "user")
    assert result.stdout.startswith(told), result.output
    assert result.exit_code == code
    (verdict,) = json.loads(run(served, token, "jobs", "show", "0000000000000001").stdout)["verdicts"].values()
    assert told.split()[1].rstrip(",") in {verdict.upper(), "NOT"}


def test_what_the_daemon_refuses(served: Served, token: Path) -> None:
    result = run(served, token, "backfill", "nobody")
    assert isinstance(result.exception, ConfigError)
    assert "types: expected one of batch, device, user, user_course" in result.exception.message


def test_jobs_are_listed_shown_and_ended(served: Served, token: Path) -> None:
    run(served, token, "backfill", "user", "--detach")
    listed = run(served, token, "jobs")
    assert listed.exit_code == 0
    assert "0000000000000001" in listed.stdout
    assert "25.0%" in listed.stdout
    assert "failing: no host" in listed.stdout
    assert run(served, token, "jobs", "--json").stdout.count('"name": "expired values"') == 1
    shown = run(served, token, "jobs", "show", "0000000000000001")
    assert json.loads(shown.stdout)["rows"] == 7
    ended = run(served, token, "jobs", "cancel", "0000000000000001")
    assert "0000000000000001: cancelled" in ended.stdout


def test_help_asks_nobody() -> None:
    assert CliRunner().invoke(app, ["jobs", "cancel", "--help"]).exit_code == 0


def test_the_environment_says_where_the_daemon_and_the_token_are(
    served: Served, token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDC_DAEMON_URL", served.url)
    monkeypatch.setenv("CDC_DAEMON_TOKEN_FILE", str(token))
    assert CliRunner().invoke(app, ["jobs", "--json"]).exit_code == 0
    monkeypatch.setenv("CDC_DAEMON_TOKEN_FILE", "/no/such/file")
    with pytest.raises(ConfigError, match="expected a file with a token"):
        CliRunner().invoke(app, ["jobs"], catch_exceptions=False)


def test_a_dry_run_prints_an_estimate_and_starts_nothing(served: Served, token: Path) -> None:
    result = run(served, token, "backfill", "user", "--dry-run", "--rate", "5")
    assert result.exit_code == 0, result.output
    shown = result.stdout.split()
    assert {"user", "28", "counted", "nothing"} <= set(shown)
    assert "user: the database has no estimate of k.t" in result.stdout
    assert not jobs(served).requests
    assert served.daemon.estimator is not None
    (request,) = served.daemon.estimator.requests
    assert (request.types, request.rate) == (("user",), 5)


def test_a_dry_run_of_all_types_that_are_large(served: Served, token: Path) -> None:
    assert served.daemon.estimator is not None
    served.daemon.estimator.more = {
        "rows": 3_000_000_000,
        "bytes": 5 << 40,
        "seconds": 90_000.0,
        "certainty": "good",
        "error": 0.123,
        "cassandra": {"partitions": 7, "bytes": 2048},
    }
    result = run(served, token, "backfill", "--dry-run")
    assert result.exit_code == 0, result.output
    for text in ("3,000,000,000", "5.0 TiB", "25.0 h", "good, ± 12%", "device", "all", "7 partitions, 2 KiB on disk"):
        assert text in result.stdout
    served.daemon.estimator.more = {"bytes": None, "seconds": None, "rate": None, "certainty": "rough", "error": None}
    assert run(served, token, "backfill", "--dry-run").stdout.count("unknown") >= 2
    as_json = run(served, token, "backfill", "--dry-run", "--json")
    assert json.loads(as_json.stdout)["types"]["user"]["certainty"] == "rough"


@pytest.mark.parametrize("arguments", [[], ["user", "--count", "--dry-run"], ["user", "--count", "--new-index"]])
def test_what_does_not_go_together(served: Served, token: Path, arguments: list[str]) -> None:
    assert isinstance(run(served, token, "backfill", *arguments).exception, ConfigError)
