"""`cdc-daemon dead-letters` on a store, and against a daemon's HTTP surface."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cdc_daemon.cli.main import app
from cdc_daemon.model.errors import CdcError, ConfigError
from cdc_daemon.store import Store
from cdc_daemon.store.dead_letters import DeadLetter
from tests.unit.cli.serving import Served

NOW = int(time.time() * 1e6)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def config(tmp_path: Path, state: Path) -> Path:
    file = tmp_path / "config.yaml"
    file.write_text(
        f"cassandra: {{contact_points: [h]}}\ncommit_log: {{cdc_raw_directory: {tmp_path}}}\n"
        f"elasticsearch: {{hosts: ['http://h:9200']}}\nstate: {{directory: {state}}}\n"
        "mappings: {user: {table: sunbird.user, alias: users}}\n"
    )
    return file


def letter(key: bytes, reason: str = "clash", *, age: float = 0.0) -> DeadLetter:
    return DeadLetter(
        kind="document",
        reason=reason,
        detail={"message": "no [date]", "key": {"id": key.decode()}},
        keyspace="sunbird",
        table="user",
        partition_key=key,
        clustering=(),
        alias="users",
        payload=b'{"dob":"x"}',
        at=NOW - int(age * 1e6),
    )


@pytest.fixture
def kept(state: Path) -> None:
    store = Store(state)
    mutation = DeadLetter(
        kind="mutation",
        reason="UnknownTableError",
        detail={"message": "who"},
        segment_id=1,
        position=2,
        payload=b"\xab",
    )
    store.dead_letters.add([letter(b"u1", age=7200), letter(b"u2", "other"), mutation])
    store.close()


def run(config: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["dead-letters", *arguments, "--config", str(config)])


def ids(result: Result) -> list[int]:
    assert result.exit_code == 0, result.output
    return [each["id"] for each in json.loads(result.stdout)["dead_letters"]]


def test_a_daemon_that_never_ran_has_none(config: Path, state: Path) -> None:
    assert ids(run(config, "list", "--json")) == []
    assert "0 dead letters" in run(config, "list").stdout
    assert not state.exists()


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), [3, 2, 1]),
        (("--limit", "1"), [3]),
        (("--kind", "document"), [2, 1]),
        (("--reason", "other"), [2]),
        (("--table", "sunbird.user", "--older-than", "1h"), [1]),
        (("--newer-than", "1h"), [3, 2]),
        (("--below", "3"), [2, 1]),
        (("--below", "3", "--limit", "1", "--kind", "document"), [2]),
    ],
)
def test_list(config: Path, arguments: tuple[str, ...], expected: list[int]) -> None:
    assert ids(run(config, "list", "--json", *arguments)) == expected


@pytest.mark.usefixtures("kept")
def test_list_and_show_for_people(config: Path) -> None:
    listed = run(config, "list", "--limit", "2").stdout
    assert "id=u2" in listed
    assert "no [date]" in listed
    assert "3 dead letters, 2 shown, next page: --below 2" in listed
    assert "  1 UnknownTableError" in listed
    assert run(config, "list", "--below", "2").stdout.splitlines()[-4] == "3 dead letters, 1 shown"
    assert "0 dead letters of 3" in run(config, "list", "--reason", "clahs").stdout
    assert json.loads(run(config, "list", "--json", "--limit", "1").stdout)["reasons"] == {
        "UnknownTableError": 1,
        "clash": 1,
        "other": 1,
    }
    shown = run(config, "show", "1").stdout
    assert 'key: {"id": "u1"}' in shown
    assert 'document: {"dob":"x"}' in shown
    assert "payload: ab" in run(config, "show", "3").stdout
    plain = json.loads(run(config, "show", "3", "--json").stdout)
    assert (plain["payload_start"], plain["payload_bytes"], plain["document"]) == ("ab", 1, None)


@pytest.mark.usefixtures("kept")
def test_drop(config: Path) -> None:
    assert "2 dead letters would be dropped" in run(config, "drop", "--kind", "document", "--dry-run").stdout
    assert ids(run(config, "list", "--json")) == [3, 2, 1]
    assert json.loads(run(config, "drop", "--reason", "clash", "--json").stdout) == {"dropped": 1, "dry_run": False}
    assert ids(run(config, "list", "--json")) == [3, 2]
    assert "1 dead letter dropped" in run(config, "drop", "2").stdout
    unknown = run(config, "drop", "2", "3")
    assert isinstance(unknown.exception, CdcError)
    assert ids(run(config, "list", "--json")) == []
    assert run(config, "drop", "--all").exit_code == 0


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize(
    "arguments",
    [
        ("drop",),
        ("drop", "1", "--all"),
        ("drop", "--all", "--kind", "document"),
        ("replay",),
        ("list", "--older-than", "7"),
    ],
)
def test_a_command_line_that_is_wrong(config: Path, arguments: tuple[str, ...]) -> None:
    assert isinstance(run(config, *arguments).exception, ConfigError)
    assert ids(run(config, "list", "--json")) == [3, 2, 1]


@pytest.mark.usefixtures("kept")
def test_show_what_is_not_there(config: Path) -> None:
    assert isinstance(run(config, "show", "9").exception, CdcError)


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("identity", ["0", "x", "99999999999999999999"])
@pytest.mark.parametrize("command", ["show", "drop", "replay"])
def test_an_id_that_no_letter_can_have(config: Path, command: str, identity: str) -> None:
    assert run(config, command, identity).exit_code == 2


@pytest.fixture
def token(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text("a-token\n")
    return file


@pytest.fixture
def served(token: Path) -> Iterator[Served]:
    served = Served(token, scopes=("admin",))
    assert served.daemon.control is not None
    served.daemon.control.letters = [
        DeadLetter(id=number, kind="document", reason="bad" if number == 3 else "clash", detail={})
        for number in range(450, 0, -1)
    ]
    yield served
    served.stop()


def replay(served: Served, token: Path, *arguments: str) -> Result:
    where = ["--url", served.url, "--token-file", str(token), "--wait", "0"]
    return CliRunner().invoke(app, ["dead-letters", "replay", *where, *arguments])


def test_replay_by_filter_page_by_page(served: Served, token: Path) -> None:
    assert "450 dead letters would be replayed" in replay(served, token, "--all", "--dry-run").stdout
    assert served.daemon.control is not None
    served.daemon.control.unmended = {"bad"}
    result = replay(served, token, "--all", "--json")
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    assert (answer["total"], answer["replayed"], answer["failed"], answer["waiting"]) == (450, 449, 1, 0)
    assert [each.id for each in served.daemon.control.letters] == [3]
    again = replay(served, token, "--reason", "bad")
    assert again.exit_code == 1
    assert "0 replayed, 1 failed, 0 waiting" in again.stdout
    assert "3: failed: bad: still no date" in again.stderr


def test_replay_by_ids(served: Served, token: Path) -> None:
    result = replay(served, token, "1", "2")
    assert result.exit_code == 0, result.output
    assert "2 replayed, 0 failed, 0 waiting" in result.stdout
    assert "1 dead letter would be replayed" in replay(served, token, "3", "--dry-run").stdout


def test_replay_by_ids_goes_on_where_one_is_gone(served: Served, token: Path) -> None:
    assert served.daemon.control is not None
    tried, done = (replay(served, token, "999", "4", *more) for more in (("--dry-run",), ("4",)))
    for result in (tried, done):
        assert isinstance(result.exception, CdcError)
        assert "999" in result.exception.message
    assert "1 dead letter would be replayed" in tried.stdout
    assert "1 replayed, 0 failed" in done.stdout
    assert len(served.daemon.control.letters) == 449


def test_of_many_that_stay_the_first_are_told(served: Served, token: Path) -> None:
    assert served.daemon.control is not None
    served.daemon.control.unmended = {"clash"}
    result = replay(served, token, "--all")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 21
    assert "and 429 others" in result.stderr


def test_replay_needs_the_right(served: Served, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("another")
    refused = replay(served, other, "--all")
    assert isinstance(refused.exception, CdcError)
    assert "401" in refused.exception.message


def test_keys_and_reasons_do_not_reach_the_terminal_raw(config: Path, state: Path) -> None:
    raw = "\x1b[2J\u202e\x9b"
    store = Store(state)
    store.dead_letters.add([letter(raw.encode(), raw)])
    store.close()
    for arguments in (("list",), ("show", "1")):
        result = run(config, *arguments)
        assert result.exit_code == 0, result.output
        assert not {*"\x1b\u202e\x9b"} & {*result.stdout}
        assert r"\x1b[2J\u202e\x9b" in "".join(result.stdout.split())
