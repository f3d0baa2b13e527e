from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.config.environment import expand

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
    value, (problem,) = expand({"a": {"b": text}}, ENVIRONMENT)
    assert value == {"a": {"b": text}}
    assert problem.path == ("a", "b")
    assert "${NAME}" in problem.message


def test_an_absent_variable_is_named() -> None:
    _, (problem,) = expand({"a": ["x", "${NOPE}"]}, ENVIRONMENT)
    assert problem.path == ("a", 1)
    assert "NOPE" in problem.message
    assert problem.hint is not None


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
