from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.config import Settings, SettingsError
from cdc_daemon.config.external_values import expand

ENVIRONMENT = {"HOST": "db", "EMPTY": "", "YAML": "a: [b", "NESTED": "${HOST}"}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("${HOST}", "db"),
        ("http://${HOST}:${PORT:-9200}/", "http://db:9200/"),
        ("${ABSENT:-}", None),
        ("${EMPTY}", None),
        ("${EMPTY:-x}", "x"),
        ("a${EMPTY}b", "ab"),
        ("${HOST:-other}", "db"),
        ("${ABSENT:-a:-b}", "a:-b"),
        ("${NESTED}", "${HOST}"),
        ("$${HOST}", "${HOST}"),
        ("$HOST and $ and $$", "$HOST and $ and $$"),
        ("{userid}_{courseid}", "{userid}_{courseid}"),
    ],
)
def test_references(text: str, expanded: str | None) -> None:
    assert expand({"key": [text]}, ENVIRONMENT) == ({"key": [expanded]}, [])


@pytest.mark.parametrize("text", ["${", "${}", "${HOST", "${1A}", "${A B}", "${HOST:x}", "${HOST-x}", "${É}"])
def test_malformed_references(text: str) -> None:
    value, (mistake,) = expand({"a": {"b": text}}, ENVIRONMENT)
    assert value == {"a": {"b": text}}
    assert mistake.path == ("a", "b")
    assert "${NAME}" in mistake.message


def test_an_absent_variable_is_named() -> None:
    _, (mistake,) = expand({"a": ["x", "${NOPE}"]}, ENVIRONMENT)
    assert mistake.path == ("a", 1)
    assert "NOPE" in mistake.message
    assert mistake.hint is not None


def test_keys_are_left_alone() -> None:
    assert expand({"${HOST}": 1}, ENVIRONMENT) == ({"${HOST}": 1}, [])


def test_a_variable_cannot_change_the_structure() -> None:
    assert expand({"key": "${YAML}"}, ENVIRONMENT) == ({"key": "a: [b"}, [])


@given(st.recursive(st.one_of(st.none(), st.integers(), st.booleans(), st.text("ab {}:-$", max_size=9)), st.lists))
def test_without_references_nothing_changes(value: object) -> None:
    if "${" not in repr(value):
        assert expand(value, {}) == (value, [])


@given(st.text(max_size=20), st.text(max_size=20))
def test_a_variable_comes_through_as_it_is(before: str, content: str) -> None:
    if "$" not in before and content:
        assert expand(before + "${X}", {"X": content}) == (before + content, [])


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
    (mistake,) = error.mistakes
    assert mistake.path == ("cassandra", "password_file")
    assert "either password or password_file" in mistake.message
    assert "hunter" not in str(error)


def test_no_such_file(fail_changed: Fail, tmp_path: Path) -> None:
    error = fail_changed(cassandra__username="u", cassandra__password_file="absent")
    (mistake,) = [mistake for mistake in error.mistakes if mistake.path[-1] == "password_file"]
    assert "no such file" in mistake.message
    assert str(tmp_path / "absent") in mistake.message
    assert mistake.line is not None


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n", b"\xff\xfe", b"x" * (11 << 20)])
def test_files_that_hold_no_secret(fail_changed: Fail, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "secret").write_bytes(content)
    error = fail_changed(elasticsearch__api_key_file="secret")
    assert any(mistake.path == ("elasticsearch", "api_key_file") for mistake in error.mistakes)


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
    (mistake,) = fail_changed(mappings__user__mappings_file=name).mistakes
    assert mistake.path == ("mappings", "user", "mappings_file")
    assert "line 1" in mistake.message


def test_a_mapping_file_of_a_whole_index_body(fail_changed: Fail, tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text('{"settings": {}, "mappings": {}}')
    assert 'below "mappings"' in str(fail_changed(mappings__user__mappings_file="m.json"))


def test_other_files_are_not_read(load_changed: Load) -> None:
    settings = load_changed(elasticsearch__ca_file="absent.pem")
    assert settings.elasticsearch.ca_file is not None


@pytest.mark.parametrize("name", ["0123", "yes", "cassandra"])
def test_a_user_name_in_a_file_is_a_text_whatever_it_looks_like(load_changed: Load, tmp_path: Path, name: str) -> None:
    (tmp_path / "name").write_text(f"{name}\n")
    (tmp_path / "secret").write_text("hunter2")
    login = {"username_file": "name", "password_file": "secret"}
    settings = load_changed(cassandra=login, elasticsearch=login)
    assert settings.cassandra.username == settings.elasticsearch.username == name


def test_a_user_name_without_its_file(fail_changed: Fail, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2")
    error = fail_changed(cassandra__username_file="absent", cassandra__password_file="secret")
    (mistake,) = [mistake for mistake in error.mistakes if mistake.path == ("cassandra", "username_file")]
    assert f"expected a text in {tmp_path / 'absent'}, found no such file" in mistake.message
