"""README's example: its configuration makes its document of its rows, which were there before the daemon."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from cassandra.cluster import Session
from elasticsearch import Elasticsearch

from cdc_daemon.config.yaml_file import YamlFile
from sandbox import Sandbox
from tests.integration.daemon.harness import DaemonProcess, wait_for

CHECKOUT = Path(__file__).parents[3]


def block(page: str, language: str) -> str:
    """Return the only code block of a language on a page."""
    text = (CHECKOUT / page).read_text(encoding="utf-8")
    (found,) = re.findall(rf"^ *```{language}\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    return str(found)


@pytest.fixture
def tables(cql: Session, keyspace: str) -> str:
    """A keyspace with the tables of docs/start.md, and the rows of README."""
    for statement in (block("docs/start.md", "sql") + block("README.md", "sql")).split(";"):
        if statement.strip():
            cql.execute(statement.replace("shop.", f"{keyspace}."))
    return keyspace


def test_the_rows_of_the_readme_become_its_document(
    box: Sandbox, elastic: Elasticsearch, tables: str, index_prefix: str, tmp_path: Path
) -> None:
    config: dict[str, Any] = YamlFile(block("README.md", "yaml").replace("shop.", f"{tables}.")).value
    (mapping,) = config["mappings"].values()
    mapping |= {"alias": f"{index_prefix}{mapping['alias']}", "snapshot": "initial"}
    daemon = DaemonProcess(box, tmp_path, mappings=config["mappings"])
    # The servers' addresses and the folders are those of this machine; every other key is README's.
    for section in set(config) - set(daemon.config) - {"search"}:
        daemon.config[section] = config[section]
    daemon.run()
    try:
        client = elastic.options(ignore_status=404)
        found = wait_for(
            "the document", lambda: client.get(index=mapping["alias"], id="u1").body.get("_source"), seconds=60
        )
    finally:
        daemon.stop()
    assert found == json.loads(block("README.md", "json"))
