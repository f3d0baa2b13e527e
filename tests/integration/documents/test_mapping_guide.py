"""The mapping guide: each of its rows becomes the document that stands beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cassandra.cluster import Session
from elasticsearch import Elasticsearch

from cdc_daemon.config.yaml_file import YamlFile
from sandbox import Sandbox
from tests.integration.daemon.harness import DaemonProcess, wait_for

GUIDE = (Path(__file__).parents[3] / "docs" / "mapping.md").read_text(encoding="utf-8")


class Example(NamedTuple):
    """A section of the guide: its statements, its mapping with its name, and the documents by id."""

    statements: list[str]
    name: str
    mapping: dict[str, Any]
    documents: dict[str, Any]


def examples(keyspace: str) -> Iterator[Example]:
    for section in GUIDE.replace("shop.", f"{keyspace}.").split("\n## ")[1:]:
        blocks = dict(re.findall(r"^```(\w+)\n(.*?)^```", section, re.DOTALL | re.MULTILINE))
        if blocks:
            ((name, mapping),) = YamlFile(blocks["yaml"]).value.items()
            statements = [each.strip() for each in blocks["sql"].split(";\n") if each.strip()]
            yield Example(statements, name, mapping, json.loads(blocks["json"]))


class Shown(NamedTuple):
    """The documents of each mapping, and those that the guide has."""

    found: Mapping[str, Any]
    expected: Mapping[str, Any]


@pytest.fixture
def tables(cql: Session, keyspace: str) -> list[Example]:
    """The examples, with their tables and rows in a keyspace of this test."""
    every = list(examples(keyspace))
    for statement in (statement for example in every for statement in example.statements):
        cdc = " WITH cdc = true" if statement.startswith("CREATE") else ""
        cql.execute(f"{statement.rstrip(';')}{cdc}")
    return every


@pytest.fixture
def shown(box: Sandbox, elastic: Elasticsearch, tables: list[Example], index_prefix: str, tmp_path: Path) -> Shown:
    mappings = {
        example.name: {**example.mapping, "alias": f"{index_prefix}{example.name}", "snapshot": "initial"}
        for example in tables
    }
    daemon = DaemonProcess(box, tmp_path, mappings=mappings)
    daemon.run()
    try:
        wait_for("the first copies", lambda: {each["state"] for each in daemon.status()["first_copies"]} == {"done"})
    finally:
        daemon.stop()
    elastic.indices.refresh(index=f"{index_prefix}*")
    found = {
        name: {
            hit["_id"]: {field: value for field, value in hit["_source"].items() if not field.startswith("cdc_")}
            for hit in elastic.search(index=mapping["alias"])["hits"]["hits"]
        }
        for name, mapping in mappings.items()
    }
    return Shown(found, {example.name: example.documents for example in tables})


def test_the_rows_of_the_guide_become_its_documents(shown: Shown) -> None:
    assert len(shown.expected) == GUIDE.count("```json")
    assert shown.found == shown.expected
