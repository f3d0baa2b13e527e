from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cdc_daemon.config import Settings, SettingsError

Load = Callable[..., Settings]
Fail = Callable[..., SettingsError]


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        ("hunter2", "hunter2"),
        ("hunter2\n", "hunter2"),
        ("hunter2\r\n", "hunter2"),
        ("two\n\n", "two\n"),
        (" spaced \n", " spaced "),
        ("${NOT_EXPANDED}\n", "${NOT_EXPANDED}"),
        ("pässword", "pässword"),
    ],
)
def test_the_newline_at_the_end_is_left_out(load_changed: Load, tmp_path: Path, content: str, secret: str) -> None:
    (tmp_path / "secret").write_bytes(content.encode())
    settings = load_changed(cassandra__username="u", cassandra__password_file="secret")
    assert settings.cassandra.password is not None
    assert settings.cassandra.password.get_secret_value() == secret
    assert settings.cassandra.password_file == tmp_path / "secret"
    assert settings.redacted()["cassandra"]["password"] == "**********"


def test_the_path_may_come_from_the_environment(load_text: Load, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("abc\n")
    settings = load_text(
        "commit_log: {cdc_raw_directory: raw}\nstate: {directory: s}\nmappings: {user: {table: k.t, alias: a}}\n"
        "elasticsearch: {api_key_file: '${KEY_FILE}'}\n",
        KEY_FILE="key",
    )
    assert settings.elasticsearch.api_key is not None
    assert settings.elasticsearch.api_key.get_secret_value() == "abc"


def test_both_a_secret_and_its_file(fail_changed: Fail, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2")
    error = fail_changed(cassandra__username="u", cassandra__password="hunter3", cassandra__password_file="secret")
    (problem,) = error.problems
    assert problem.path == ("cassandra", "password_file")
    assert "either password or password_file" in problem.message
    assert "hunter" not in str(error)


def test_no_such_file(fail_changed: Fail, tmp_path: Path) -> None:
    error = fail_changed(cassandra__username="u", cassandra__password_file="absent")
    (problem,) = [problem for problem in error.problems if problem.path[-1] == "password_file"]
    assert "no such file" in problem.message
    assert str(tmp_path / "absent") in problem.message
    assert problem.line is not None


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n", b"\xff\xfe", b"x" * (11 << 20)])
def test_files_that_hold_no_secret(fail_changed: Fail, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "secret").write_bytes(content)
    error = fail_changed(elasticsearch__api_key_file="secret")
    assert any(problem.path == ("elasticsearch", "api_key_file") for problem in error.problems)


def test_a_folder_for_a_file(fail_changed: Fail, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    assert "is a directory" in str(fail_changed(elasticsearch__api_key_file="secret"))


def test_a_path_that_is_no_text(fail_changed: Fail) -> None:
    assert "elasticsearch.api_key_file: expected a path" in str(fail_changed(elasticsearch__api_key_file=7))


@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_a_mapping_from_a_file(load_changed: Load, tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"mapping.{suffix}").write_text('{"properties": {"userId": {"type": "keyword"}}}')
    settings = load_changed(mappings__user__mappings_file=f"mapping.{suffix}")
    assert settings.mappings["user"].mappings == {"properties": {"userId": {"type": "keyword"}}}


def test_json_may_be_indented_with_tabs(load_changed: Load, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(json.dumps({"number_of_shards": 5}, indent="\t"))
    assert load_changed(mappings__user__settings_file="settings.json").mappings["user"].settings == {
        "number_of_shards": 5
    }


@pytest.mark.parametrize(("name", "content"), [("m.json", "{"), ("m.yaml", "a: [")])
def test_a_mapping_file_that_cannot_be_read(fail_changed: Fail, tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    (problem,) = fail_changed(mappings__user__mappings_file=name).problems
    assert problem.path == ("mappings", "user", "mappings_file")
    assert "line 1" in problem.message


def test_a_mapping_file_of_a_whole_index_body(fail_changed: Fail, tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text('{"settings": {}, "mappings": {}}')
    assert 'below "mappings"' in str(fail_changed(mappings__user__mappings_file="m.json"))


def test_other_files_are_not_read(load_changed: Load) -> None:
    settings = load_changed(elasticsearch__ca_file="absent.pem")
    assert settings.elasticsearch.ca_file is not None
