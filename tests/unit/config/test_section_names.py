"""The section of the search engine may be called `search` or `elasticsearch`; mistakes name it as the file does."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from cdc_daemon.config import SettingsError, json_schema
from cdc_daemon.config.loading import parse
from cdc_daemon.config.yaml_file import YamlFile

REST = """
commit_log: {cdc_raw_directory: /raw}
state: {directory: /state}
mappings:
  user: {table: k.t, alias: users}
"""


def lines(text: str) -> list[str]:
    """Return the mistakes of a file."""
    with pytest.raises(SettingsError) as caught:
        parse(text + REST, file=Path("/f/config.yaml"), environment={})
    return [str(mistake) for mistake in caught.value.mistakes]


@pytest.mark.parametrize("name", ["search", "elasticsearch"])
def test_the_section_has_two_names(name: str) -> None:
    text = f'{name}:\n  hosts: ["http://engine:9200"]\n  flavor: opensearch\n' + REST
    settings = parse(text, file=Path("/f/config.yaml"), environment={})
    assert settings.elasticsearch.hosts == ("http://engine:9200",)
    assert settings.elasticsearch.flavor == "opensearch"
    jsonschema.Draft202012Validator(json_schema()).validate(YamlFile(text).value)


def test_the_engine_is_asked_unless_it_is_configured() -> None:
    assert parse(REST, file=Path("/f/config.yaml"), environment={}).elasticsearch.flavor == "auto"


def test_both_names_at_once_are_a_mistake() -> None:
    text = "search:\n  connections: 2\nelasticsearch:\n  connections: 3\n"
    (line,) = lines(text)
    assert line == (
        "line 1: search: expected either search or elasticsearch, which are two names of one section, found both "
        "(move all keys into search)"
    )
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(json_schema()).validate(YamlFile(text + REST).value)


@pytest.mark.parametrize("name", ["search", "elasticsearch"])
@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ("flavor: opensaerch", "line 2: {}.flavor: expected 'auto', 'elasticsearch' or 'opensearch'"),
        ("host: x", "line 2: {}.host: unknown key (did you mean hosts?)"),
        ("connections: 65", "line 2: {}.connections: expected at most 64, found 65"),
        ("password: ${ABSENT}", "line 2: {}.password: expected the environment variable ABSENT"),
        ("api_key_file: /absent", "line 2: {}.api_key_file: expected a secret in /absent"),
        ("username: a", "line 1: {}.password: expected username and password together"),
    ],
)
def test_mistakes_name_the_section_as_the_file_does(name: str, keys: str, told: str) -> None:
    (line,) = lines(f"{name}:\n  {keys}\n")
    assert line.startswith(told.format(name))


@pytest.mark.parametrize("name", ["search", "elasticsearch"])
def test_a_key_of_the_section_at_another_place_is_told_its_place(name: str) -> None:
    (line,) = lines(f"{name}:\n  connections: 2\nbulk_documents: 7\n")
    assert line == f"line 3: bulk_documents: unknown key (did you mean {name}.bulk_documents?)"


def test_an_empty_section_is_told_by_its_name() -> None:
    (line,) = lines("search:\n")
    assert line == "line 1: search: expected keys and values, found nothing"
