"""config.example.yaml and config.schema.json are promises: they are held against the code."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import BaseModel

from cdc_daemon.config import MappingSettings, Settings, json_schema, load
from cdc_daemon.config.yaml_file import YamlFile

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "config.example.yaml"
SCHEMA = ROOT / "docs" / "config.schema.json"


def test_the_example_loads_without_any_variable_set() -> None:
    settings = load(EXAMPLE, environment={})
    assert settings.cassandra.username is None
    assert settings.cassandra.password is None
    assert settings.mappings["user"].alias == "user_alias"


def test_the_example_takes_its_variables() -> None:
    variables = {
        "CASSANDRA_HOST": "cassandra-0",
        "CASSANDRA_PORT": "19042",
        "CASSANDRA_USERNAME": "daemon",
        "CASSANDRA_PASSWORD": "hunter2",
        "ELASTICSEARCH_URL": "https://search:9200",
        "LOG_LEVEL": "debug",
    }
    settings = load(EXAMPLE, environment=variables)
    assert settings.cassandra.contact_points == ("cassandra-0",)
    assert settings.cassandra.port == 19042
    assert settings.cassandra.password is not None
    assert settings.elasticsearch.hosts == ("https://search:9200",)


@pytest.mark.parametrize("indices", ["plain", "full"])
def test_the_example_has_the_five_types_and_their_index_files(indices: str) -> None:
    mappings = load(EXAMPLE, environment={"SUNBIRD_INDICES": indices}).mappings
    assert sorted(mappings) == ["batch", "location", "organisation", "user", "user_course"]
    for mapping in mappings.values():
        assert mapping.mappings is not None
        assert mapping.mappings["dynamic"] is False
        assert mapping.settings is not None
        assert ("analysis" in mapping.settings) == (indices == "full")
        assert ("analyzer" in json.dumps(mapping.mappings)) == (indices == "full")


def test_the_schema_accepts_the_example() -> None:
    example = YamlFile(EXAMPLE.read_text()).value
    assert list(jsonschema.Draft202012Validator(json_schema()).iter_errors(example)) == []


def test_the_published_schema_is_that_of_the_code() -> None:
    assert json.loads(SCHEMA.read_text()) == json_schema(), "make it anew: make docs"


def test_the_example_points_editors_to_the_schema() -> None:
    assert EXAMPLE.read_text().splitlines()[0] == f"# yaml-language-server: $schema=./{SCHEMA.relative_to(ROOT)}"


def _keys(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _keys(field.annotation)


@pytest.mark.parametrize("key", sorted({*_keys(Settings), *_keys(MappingSettings)}))
def test_the_example_shows_every_key(key: str) -> None:
    assert re.search(rf"^[ #]*{key}:", EXAMPLE.read_text(), re.MULTILINE)


def test_defaults_in_comments_are_the_defaults() -> None:
    """Comments of the form `# key: value` at a key's own place show what holds when it is left out."""
    shown = {
        match["key"]: match["value"]
        for match in re.finditer(r"^  # (?P<key>\w+): (?P<value>[\w.]+)$", EXAMPLE.read_text(), re.MULTILINE)
    }
    redacted = load(EXAMPLE, environment={}).redacted()
    places = [redacted[section] for section in ("cassandra", "commit_log", "elasticsearch", "pipeline", "http", "log")]
    del shown["local_datacenter"]
    assert len(shown) > 10
    for key, value in shown.items():
        assert str(yaml.safe_load(value)) in {str(place[key]) for place in places if key in place}, key


VALID = {"commit_log": {"cdc_raw_directory": "/raw"}, "state": {"directory": "/s"}}
USER: dict[str, Any] = {"table": "k.t", "alias": "a"}


@pytest.mark.parametrize(
    "changes",
    [
        {"cassandra": {"request_timeout": "500ms", "port": 9042, "consistency": "ONE"}},
        {"cassandra": {"request_timeout": "${T:-1s}", "port": "${P}", "consistency": "${C:-ONE}"}},
        {"elasticsearch": {"bulk_bytes": "4MiB", "password_file": "x", "username": "u", "verify_certificates": False}},
        {"elasticsearch": {"verify_certificates": "${VERIFY:-true}"}},
        {"http": {"port": None}},
    ],
)
def test_the_schema_accepts(changes: dict[str, Any]) -> None:
    settings = {**VALID, "mappings": {"user": USER}, **changes}
    assert list(jsonschema.Draft202012Validator(json_schema()).iter_errors(settings)) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"cassandra": {"request_timeout": 10}},
        {"cassandra": {"request_timeout": "10"}},
        {"cassandra": {"prot": 1}},
        {"cassandra": {"consistency": "quorum"}},
        {"elasticsearch": {"bulk_bytes": "4mb"}},
        {"mappings": {}},
        {"mappings": {"user": {"table": "k.t"}}},
        {"mappings": {"user": {**USER, "table": "t"}}},
        {"state": {}},
        {"other": 1},
    ],
)
def test_the_schema_refuses(changes: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(json_schema()).validate({**VALID, "mappings": {"user": USER}, **changes})


def test_the_schema_spells_defaults_as_the_file_does() -> None:
    definitions = json_schema()["$defs"]
    assert definitions["CassandraSettings"]["properties"]["request_timeout"]["default"] == "10s"
    assert definitions["ElasticsearchSettings"]["properties"]["bulk_bytes"]["default"] == "4MiB"
    for definition in definitions.values():
        for entry in definition["properties"].values():
            if entry.get("default") is not None:
                jsonschema.Draft202012Validator(entry).validate(entry["default"])


def test_the_schema_describes_every_key() -> None:
    definitions = [json_schema(), *json_schema()["$defs"].values()]
    for definition in definitions:
        for name, entry in definition["properties"].items():
            assert entry.get("description") or "$ref" in entry, f"{definition['title']}.{name}"
