"""README's example: its commands and its configuration make its document of rows that were there before."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cassandra.cluster import Session
from elasticsearch import Elasticsearch

from cdc_daemon.config.yaml_file import YamlFile
from sandbox import Sandbox
from tests.integration.daemon.harness import DaemonProcess, wait_for

CHECKOUT = Path(__file__).parents[3]
HERE = {"cassandra", "commit_log", "elasticsearch", "search", "state", "http"}
"""Sections that hold addresses and folders, which differ on this machine."""


def block(page: str, language: str, beginning: str = "") -> str:
    """Return the code block of a language on a page that begins with a text, without the indentation of its list."""
    text = (CHECKOUT / page).read_text(encoding="utf-8")
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    (code,) = [re.sub(f"^{indent}", "", code, flags=re.MULTILINE) for indent, code in found if beginning in code]
    return code


@pytest.fixture
def tables(cql: Session, keyspace: str) -> str:
    """A keyspace with the tables of docs/start.md, and the rows of README."""
    for statement in (block("docs/start.md", "sql") + block("README.md", "sql")).split(";"):
        if statement.strip():
            cql.execute(statement.replace("shop.", f"{keyspace}."))
    return keyspace


def test_the_commands_and_the_configuration_of_the_readme_make_its_document(
    box: Sandbox, elastic: Elasticsearch, tables: str, index_prefix: str, tmp_path: Path
) -> None:
    environment = {
        **os.environ,
        "CASSANDRA_HOST": box.contact_points[0],
        "CASSANDRA_PORT": str(box.cassandra.port),
        "ELASTICSEARCH_URL": box.elasticsearch.url,
    }

    def type_in(command: str) -> str:
        words = shlex.split(command.replace("shop", tables), comments=True)
        done = subprocess.run(
            [str(Path(sys.executable).with_name(words[0])), *words[1:]],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    install, init, check, run = block("README.md", "sh", "cdc-daemon init").splitlines()
    assert install.startswith("pip install .")  # the tests run in an installation
    assert run == "cdc-daemon run"
    type_in(init)
    config_file = tmp_path / "config.yaml"
    written = config_file.read_text(encoding="utf-8")
    made: dict[str, Any] = YamlFile(written).value
    shown: dict[str, Any] = YamlFile(block("README.md", "yaml").replace("shop.", f"{tables}.")).value
    joined = written.replace("    # joins:", "    joins:").replace("    #   orders", "      orders")
    assert YamlFile(joined).value["mappings"] == shown["mappings"]
    assert set(made) == set(shown)
    assert made["commit_log"] == {"cdc_raw_directory": str(box.cassandra.cdc_raw_directory)}

    free_port_and_folder = f"http: {{port: null}}\nstate: {{directory: {tmp_path / 'state'}}}\n"
    config_file.write_text(re.sub(r"^state:\n.*\n", free_port_and_folder, joined, flags=re.MULTILINE), encoding="utf-8")
    assert ", 0 fail" in type_in(check)

    for mapping in shown["mappings"].values():
        mapping |= {"alias": f"{index_prefix}{mapping['alias']}", "snapshot": "initial"}
    daemon = DaemonProcess(box, tmp_path / "daemon", mappings=shown["mappings"])
    assert set(shown) - HERE == {"mappings"}
    daemon.run()
    try:
        client = elastic.options(ignore_status=404)
        alias = shown["mappings"]["users"]["alias"]
        document = wait_for("the document", lambda: client.get(index=alias, id="u1").body.get("_source"))
    finally:
        daemon.stop()
    assert document == json.loads(block("README.md", "json"))


def test_a_second_run_of_init_proposes_only_what_is_new(
    box: Sandbox, cql: Session, tables: str, tmp_path: Path
) -> None:
    environment = {
        **os.environ,
        "CASSANDRA_HOST": box.contact_points[0],
        "CASSANDRA_PORT": str(box.cassandra.port),
        "ELASTICSEARCH_URL": "http://127.0.0.1:1",
    }

    def init(*options: str) -> str:
        command = [str(Path(sys.executable).with_name("cdc-daemon")), "init", "--keyspace", tables, *options]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, input="", capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    # A search engine that does not answer yet is no reason to write nothing.
    assert "check its URL" in init()
    file = tmp_path / "config.yaml"
    first = file.read_text(encoding="utf-8")
    assert "there is nothing to add" in init()
    cql.execute(f"CREATE TABLE {tables}.later (id int PRIMARY KEY, v text)")
    told = init()
    assert f"table: {tables}.later" in told
    assert f"ALTER TABLE {tables}.later WITH cdc = true;" in told
    assert file.read_text(encoding="utf-8") == first, "nobody was asked, so nothing is changed"
    init("--yes", "--enable-cdc")
    now = YamlFile(file.read_text(encoding="utf-8")).value
    assert list(now["mappings"]) == ["orders", "users", "later"]
    (row,) = cql.execute(
        "SELECT cdc FROM system_schema.tables WHERE keyspace_name = %s AND table_name = 'later'", [tables]
    )
    assert row.cdc
    assert "CDC is off" not in init()
