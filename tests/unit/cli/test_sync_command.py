"""`cdc-daemon sync` against a daemon's HTTP surface."""

from __future__ import annotations

import json
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
    assert "stopped after the first 1000 of 2500 ids" in result.stderr


def test_a_call_that_fails_on_the_way_tells_what_was_done(served: Served, token: Path, tmp_path: Path) -> None:
    file = tmp_path / "ids"
    file.write_text("\n".join([*(f"u{number}" for number in range(1000)), "{}"]))
    result = run(served, token, "user", "--ids-file", str(file))
    assert isinstance(result.exception, CdcError)
    assert "1000 ids: 1000 documents indexed" in result.stdout
    assert "stopped after the first 1000 of 1001 ids" in result.stderr


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
        ("user", "u", "--token-file", "/no/such", "--url", "http://127.0.0.1:9"),
    ],
)
def test_a_command_line_that_is_wrong(arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, ["sync", *arguments])
    assert isinstance(result.exception, ConfigError)
