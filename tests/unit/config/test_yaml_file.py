from __future__ import annotations

import json
import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.config.yaml_file import YamlFile


def test_lines_of_values() -> None:
    file = YamlFile("a:\n  b: 1\n  c:\n    - x\n    - y: 2\nd: {e: 3}\n")
    assert file.value == {"a": {"b": 1, "c": ["x", {"y": 2}]}, "d": {"e": 3}}
    assert file.line(("a", "b")) == 2
    assert file.line(("a", "c", 1)) == 5
    assert file.line(("a", "c", 1, "y")) == 5
    assert file.line(("d", "e")) == 6
    assert file.line(("a", "absent")) == 1
    assert file.line(("nothing", "there")) is None


@pytest.mark.parametrize("text", ["no", "on", "Off", "YES", "y", "08:30", "1_000", "2024-01-02", "=", "0b1"])
def test_texts_that_yaml_1_1_takes_for_something_else(text: str) -> None:
    assert YamlFile(f"key: {text}").value == {"key": text}


@pytest.mark.parametrize(
    ("text", "value"),
    [("010", 10), ("0o10", 8), ("0x1F", 31), ("-3", -3), ("1.5", 1.5), ("1e3", 1000.0), ("~", None), ("", None)],
)
def test_numbers_and_null(text: str, value: object) -> None:
    found = YamlFile(f"key: {text}").value
    assert found == {"key": value}


@pytest.mark.parametrize("text", ["true", "True", "TRUE"])
def test_booleans(text: str) -> None:
    assert YamlFile(f"key: {text}").value == {"key": True}


def test_a_repeated_key_is_a_mistake() -> None:
    (mistake,) = YamlFile("a: 1\nb: 2\na: 3\n").mistakes
    assert mistake.path == ("a",)
    assert mistake.line == 3
    assert "line 1" in mistake.message


@pytest.mark.parametrize("text", ["1: x", "true: x", "? [a]\n: x", "null: x", "~: x"])
def test_a_key_that_is_no_text_is_a_mistake(text: str) -> None:
    (mistake,) = YamlFile(text).mistakes
    assert "text as key" in mistake.message


def test_merged_keys() -> None:
    file = YamlFile("base: &base {x: 1, y: 2}\nother:\n  <<: *base\n  y: 3\n")
    assert not file.mistakes
    assert file.value["other"] == {"x": 1, "y": 3}


@pytest.mark.parametrize(
    "text",
    [
        "a: [1",
        "a: b: c",
        "\tx: 1",
        "a: *nowhere",
        "a: !!python/object:os.system {}",
        "- a\nb: 1",
        "--- 1\n--- 2\n",
        "\x07",
    ],
)
def test_broken_yaml_is_told_with_its_line(text: str) -> None:
    (mistake,) = YamlFile(text).mistakes
    assert "expected YAML" in mistake.message


def test_broken_yaml_does_not_show_the_line_itself() -> None:
    (mistake,) = YamlFile("a:\n  password: 'hunter2\n").mistakes
    assert "hunter2" not in str(mistake)


def test_an_alias_in_itself_is_refused() -> None:
    (mistake,) = YamlFile("a: &a\n  b: *a\n").mistakes
    assert "expected YAML" in mistake.message


def test_an_empty_file() -> None:
    file = YamlFile("# nothing\n")
    assert file.value is None
    assert not file.mistakes


# PyYAML reads an escaped surrogate pair as two characters; .json files are not read by it.
_characters = st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"])
# PyYAML writes 0E0 without quotes, as YAML 1.1 takes it for a text; 1.2 takes it for a number.
_texts = st.text(_characters, max_size=8).filter(lambda text: not re.fullmatch(r"[-+]?[\d.]+[eE][-+]?\d+", text))
_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63), _texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_texts, inner, max_size=3)),
    max_leaves=12,
)


@given(_json)
def test_what_was_dumped_is_read_back(value: object) -> None:
    assert YamlFile(yaml.safe_dump({"v": value})).value == {"v": value}


@given(_json)
def test_json_is_yaml(value: object) -> None:
    assert YamlFile(json.dumps({"v": value}, ensure_ascii=True)).value == {"v": value}


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    file = YamlFile(text)
    assert file.value is None or not any("expected YAML" in mistake.message for mistake in file.mistakes)
