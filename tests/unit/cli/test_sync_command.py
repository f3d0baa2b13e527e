"""`cdc-daemon sync` against a daemon's HTTP surface."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cdc_daemon.cli.client import DaemonClient
from cdc_daemon.cli.main import app
from cdc_daemon.model.document_operation import DocumentOutcome, Outcome
from cdc_daemon.model.errors import CdcError, ConfigError, Trouble
from tests.unit.cli.serving import Served


@pytest.fixture
def token(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text("a-token\n")
    return file


@pytest.fixture
def served(token: Path) -> Iterator[Served]:
    served = Served(token)
    yield served
    served.stop()


def run(served: Served, token: Path | None, *arguments: str, stdin: str | None = None) -> Result:
    named = [] if token is None else ["--token-file", str(token)]
    return CliRunner().invoke(app, ["sync", "--url", served.url, *named, *arguments], input=stdin)


def test_ids_on_the_command_line(served: Served, token: Path) -> None:
    result = run(served, token, "batch", "c1:b1", '{"courseid": "c2", "batchid": "b2"}')
    assert result.exit_code == 0, result.output
    assert "2 ids: 2 documents indexed, 0 deleted, 0 without a row or a document, 0 ids failed" in result.stdout
    assert [key.partition_key for key in served.daemon.pipeline.asked] == [b"c1", b"c2"]


def test_ids_from_a_file_in_several_requests(served: Served, token: Path, tmp_path: Path) -> None:
    file = tmp_path / "ids"
    file.write_text("\n".join(["", *(f"u{number}" for number in range(2500)), ""]))
    result = run(served, token, "user", "--ids-file", str(file), "--refresh", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {"asked": 2500, "indexed": 2500, "deleted": 0, "missing": 0, "failures": {}}
    assert len(served.daemon.refresher.refreshed) == 3


def test_ids_from_standard_input(served: Served, token: Path) -> None:
    assert run(served, token, "user", "--ids-file", "-", stdin="u1\nu2\n").exit_code == 0
    assert len(served.daemon.pipeline.asked) == 2


def test_ids_that_fail(served: Served, token: Path) -> None:
    served.daemon.pipeline.outcomes[b"u1"] = DocumentOutcome("user_alias", "u1", Outcome.DEAD, "kind", "why")
    result = run(served, token, "user", "u1", "u2")
    assert result.exit_code == 1
    assert "1 ids failed" in result.stdout
    assert "u1: u1: kind: why" in result.stderr


def test_a_reason_does_not_reach_the_terminal_raw(served: Served, token: Path) -> None:
    raw = "\x1b[2J\u202e\x9b"
    served.daemon.pipeline.outcomes[b"u1"] = DocumentOutcome("user_alias", "u1", Outcome.DEAD, "kind", raw)
    result = run(served, token, "user", "u1")
    assert raw not in result.stderr
    assert r"u1: u1: kind: \x1b[2J\u202e\x9b" in result.stderr


@pytest.mark.parametrize(("arguments", "expected"), [(("user", "u"), "401"), (("nothing", "u"), "Invalid Object Type")])
def test_a_refusal(served: Served, token: Path, arguments: tuple[str, ...], expected: str) -> None:
    result = run(served, None if expected == "401" else token, *arguments)
    assert isinstance(result.exception, CdcError)
    assert expected in result.exception.message


@pytest.mark.parametrize("arguments", [("nothing", "u"), ("user", "{}")])
def test_a_wrong_request_is_told_by_its_error_alone(served: Served, token: Path, arguments: tuple[str, ...]) -> None:
    result = run(served, token, *arguments)
    assert isinstance(result.exception, ConfigError)
    assert "stopped after" not in result.stderr


def test_an_unknown_type_is_told_the_known_ones(served: Served, token: Path) -> None:
    result = run(served, token, "nothing", "u1")
    assert isinstance(result.exception, ConfigError)
    assert "Invalid Object Type: expected one of batch, " in result.exception.message


def test_a_refusal_says_what_to_do_about_the_token(served: Served, token: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("another-token")
    hints = []
    for named, command in ((None, ["sync", "user", "u"]), (other, ["sync", "user", "u"]), (token, ["indices"])):
        file = [] if named is None else ["--token-file", str(named)]
        result = CliRunner().invoke(app, [*command, "--url", served.url, *file])
        assert isinstance(result.exception, CdcError)
        hints.append(result.exception.hint or "")
    none, unknown, without_scope = hints
    assert none == "set the file of a token with --token-file"
    assert "http.auth" in unknown
    assert "http.auth" in without_scope
    assert "admin" in without_scope


def test_a_server_that_is_away_for_a_moment(served: Served, token: Path) -> None:
    served.daemon.health.known = Trouble("elasticsearch", "away")
    result = run(served, token, "user", "u", "--wait", "0")
    assert isinstance(result.exception, CdcError)
    assert "503" in result.exception.message


def test_an_interrupted_call_tells_what_was_done(
    served: Served, token: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ids"
    file.write_text("\n".join(f"u{number}" for number in range(2500)))
    usual, calls = DaemonClient.ask, list[int]()

    def ask(client: DaemonClient, *arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return usual(client, *arguments, **named)

    monkeypatch.setattr(DaemonClient, "ask", ask)
    result = run(served, token, "user", "--ids-file", str(file))
    assert result.exit_code == 130
    assert "1000 ids: 1000 documents indexed" in result.stdout
    assert "stopped after line 1000 of the file; continue with --from-line 1001" in result.stderr
    monkeypatch.undo()
    served.daemon.pipeline.asked.clear()
    result = run(served, token, "user", "--file", str(file), "--from-line", "1001")
    assert result.exit_code == 0
    assert [key.partition_key for key in served.daemon.pipeline.asked] == [
        f"u{number}".encode() for number in range(1000, 2500)
    ]


def test_an_interrupted_list_of_ids_tells_what_was_done(
    served: Served, token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, calls = DaemonClient.ask, list[int]()

    def ask(client: DaemonClient, *arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return usual(client, *arguments, **named)

    monkeypatch.setattr(DaemonClient, "ask", ask)
    result = run(served, token, "user", *(f"u{number}" for number in range(2500)))
    assert result.exit_code == 130
    assert "stopped after the first 1000 of 2500 ids" in result.stderr


def test_a_call_that_fails_on_the_way_tells_what_was_done(
    served: Served, token: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ids"
    file.write_text("\n".join(f"u{number}" for number in range(1001)))
    usual = DaemonClient.ask

    def ask(client: DaemonClient, method: str, path: str, body: Any = None, **named: Any) -> Any:
        if len(body["request"]["objectIds"]) == 1:
            served.daemon.health.known = Trouble("elasticsearch", "away")
        return usual(client, method, path, body, **named)

    monkeypatch.setattr(DaemonClient, "ask", ask)
    result = run(served, token, "user", "--ids-file", str(file), "--wait", "4")
    assert isinstance(result.exception, CdcError)
    assert "1000 ids: 1000 documents indexed" in result.stdout
    assert "stopped after line 1000 of the file; continue with --from-line 1001" in result.stderr


def test_bad_lines_are_reported_by_their_numbers_and_the_rest_is_done(
    served: Served, token: Path, tmp_path: Path
) -> None:
    file = tmp_path / "ids"
    file.write_bytes(b'u1\n{}\n{broken\n\xff\n{"id": "u5"}\n\nu7\n')
    result = run(served, token, "user", "--file", str(file), "--json")
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    assert (answer["asked"], answer["indexed"]) == (3, 3)
    assert list(answer["failures"]) == ["line 3", "line 4", "line 2"]
    assert "expected" in answer["failures"]["line 2"]
    assert [key.partition_key for key in served.daemon.pipeline.asked] == [b"u1", b"u5", b"u7"]
    shown = run(served, token, "user", "--file", str(file))
    assert "3 ids failed" in shown.stdout
    assert "line 3: expected an id or a JSON object, found broken JSON" in shown.stderr


def test_a_json_list_of_ids(served: Served, token: Path) -> None:
    result = run(served, token, "user", "--file", "-", stdin='[\n"u1", {"id": "u2"},\n null, 3]')
    assert result.exit_code == 1
    assert "line 3: expected a text or an object, found another JSON value" in result.stderr
    assert [key.partition_key for key in served.daemon.pipeline.asked] == [b"u1", b"u2", b"3"]


def test_a_file_of_bad_lines_only_is_a_failure_with_all_of_them_counted(
    served: Served, token: Path, tmp_path: Path
) -> None:
    file = tmp_path / "ids"
    file.write_text("{\n" * 2500)
    result = run(served, token, "user", "--file", str(file), "--json")
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    assert (len(answer["failures"]), answer["failures_left_out"]) == (1000, 1500)
    assert served.daemon.pipeline.asked == []


def test_a_file_without_ids_is_a_mistake(served: Served, token: Path) -> None:
    assert isinstance(run(served, token, "user", "--file", "-", stdin="\n").exception, ConfigError)


class _NoJob:
    async def report(self, _identity: str) -> None:
        return None


def test_the_changes_of_the_last_days(served: Served, token: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = DaemonClient.ask
    others: Any = _NoJob()
    served.daemon.jobs = others

    def ask(client: DaemonClient, method: str, path: str, *more: Any, **named: Any) -> Any:
        if method == "GET":
            assert served.daemon.range_jobs is not None
            served.daemon.range_jobs.end_all(notes={"user": "some were not found"})
        return usual(client, method, path, *more, **named)

    monkeypatch.setattr(DaemonClient, "ask", ask)
    before = time.time_ns() // 1000 - int(1.5 * 86400e6)
    result = run(served, token, "user", "--days", "1.5")
    assert result.exit_code == 0, result.output
    assert "user: 28 rows changed in the last 1.5 days, all written" in result.stdout
    assert "some were not found" in result.stderr
    assert served.daemon.range_jobs is not None
    (request,) = served.daemon.range_jobs.requests
    assert (request.kind, request.types) == ("catch_up", ("user",))
    assert before <= request.since <= time.time_ns() // 1000 - int(1.5 * 86400e6)
    detached = run(served, token, "user", "--days", "1", "--detach")
    assert "cdc-daemon jobs show" in detached.stdout


def test_a_table_without_write_times_is_a_clear_mistake(served: Served, token: Path) -> None:
    assert served.daemon.range_jobs is not None
    served.daemon.range_jobs.failure = ConfigError("expected columns with write times, found none in ks.t")
    result = run(served, token, "user", "--days", "1")
    assert isinstance(result.exception, ConfigError)
    assert "expected columns with write times" in result.exception.message


def test_nobody_there() -> None:
    result = CliRunner().invoke(app, ["sync", "user", "u", "--url", "http://127.0.0.1:9", "--wait", "0"])
    assert isinstance(result.exception, CdcError)
    assert "expected the daemon to answer" in result.exception.message


@pytest.mark.parametrize(
    "arguments",
    [
        ("user", "--url", "http://127.0.0.1:9"),
        ("user", "u", "--url", "ftp://x"),
        ("user", "{", "--url", "http://127.0.0.1:9"),
        ("user", "--ids-file", "/no/such", "--url", "http://127.0.0.1:9"),
        ("user", "--days", "1", "u", "--url", "http://127.0.0.1:9"),
        ("user", "--days", "1", "--file", "-", "--url", "http://127.0.0.1:9"),
        ("user", "--days", "1", "--refresh", "--url", "http://127.0.0.1:9"),
        ("user", "u", "--detach", "--url", "http://127.0.0.1:9"),
        ("user", "u", "--from-line", "2", "--url", "http://127.0.0.1:9"),
        ("user", "u", "--token-file", "/no/such", "--url", "http://127.0.0.1:9"),
    ],
)
def test_a_command_line_that_is_wrong(arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, ["sync", *arguments])
    assert isinstance(result.exception, ConfigError)
