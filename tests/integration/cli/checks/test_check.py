"""`cdc-daemon check` against real servers: what is wrong is found, and what it says to do mends it."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from cassandra.cluster import Session
from elasticsearch import Elasticsearch
from structlog.testing import capture_logs
from typer.testing import CliRunner

from cdc_daemon.app.parts.index_preparation import Preparation
from cdc_daemon.app.startup import connect_elasticsearch
from cdc_daemon.cli.checks import Finding, run_checks
from cdc_daemon.cli.checks.cassandra import check_cassandra
from cdc_daemon.cli.main import app
from cdc_daemon.cli.server_versions import server_versions
from cdc_daemon.config import (
    CassandraSettings,
    CommitLogSettings,
    ElasticsearchSettings,
    MappingSettings,
    Settings,
    StateSettings,
)
from cdc_daemon.config.poll import PollSettings
from cdc_daemon.model.signal import TableName
from cdc_daemon.sources.log.lock import DaemonLock
from sandbox import Sandbox
from sandbox.search_client import make_search_client

Check = Callable[..., dict[str, Finding]]


@pytest.fixture
def client(box: Sandbox) -> Iterator[Elasticsearch]:
    with closing(make_search_client(box.elasticsearch.url)) as connected:
        yield connected


@pytest.fixture
def table(cql: Session, keyspace: str) -> str:
    cql.execute(
        f"CREATE TABLE {keyspace}.enrolments (userid text, courseid text, active boolean,"
        " PRIMARY KEY (userid, courseid)) WITH cdc = true"
    )
    return "enrolments"


@pytest.fixture
def settings(box: Sandbox, keyspace: str, table: str, index_prefix: str, tmp_path: Path) -> Settings:
    return Settings(
        cassandra=CassandraSettings(contact_points=tuple(box.contact_points), port=box.cassandra.port),
        commit_log=CommitLogSettings(cdc_raw_directory=box.cassandra.cdc_raw_directory),
        elasticsearch=ElasticsearchSettings(hosts=(box.elasticsearch.url,)),
        state=StateSettings(directory=tmp_path / "state"),
        mappings={"course": MappingSettings(table=TableName(keyspace, table), alias=f"{index_prefix}courses")},
    )


@pytest.fixture
def check(settings: Settings) -> Check:
    def run(**mapping: Any) -> dict[str, Finding]:
        changed = MappingSettings(**{**settings.mappings["course"].model_dump(), **mapping})
        findings = run_checks(settings.model_copy(update={"mappings": {"course": changed}}))
        assert len({finding.name for finding in findings}) == len(findings)
        return {finding.name: finding for finding in findings}

    return run


@pytest.mark.other_engines
def test_everything_in_order(check: Check, box: Sandbox) -> None:
    findings = check()
    assert [finding for finding in findings.values() if finding.status == "fail"] == []
    assert findings["cassandra.version"].found == f"Cassandra {box.cassandra.version}"
    assert findings["cdc.enabled"].status == "ok"
    assert findings["cdc.freshness"].status == "ok"
    assert findings["cdc.when_full"].status == "ok"
    assert findings["cdc_raw.node"].status == "ok"
    assert "1024 MiB" in findings["cdc_raw.space"].found
    assert findings["read.course"].found.endswith("can be read at LOCAL_QUORUM")
    assert findings["elasticsearch.version"].found == box.elasticsearch.engine.title
    assert "will be created" in findings["index.course"].found


def test_nothing_is_changed(check: Check, client: Elasticsearch, settings: Settings) -> None:
    check()
    mapping = settings.mappings["course"]
    assert not client.indices.exists(index=[mapping.alias, mapping.index])
    assert not settings.state.directory.exists()


def test_a_table_without_cdc_is_mended_by_the_statement(check: Check, cql: Session, keyspace: str) -> None:
    cql.execute(f'CREATE TABLE {keyspace}."Plain" (id text PRIMARY KEY)')
    table = TableName(keyspace, "Plain")
    finding = check(table=table)["table.course"]
    assert finding.status == "fail"
    assert finding.mend is not None
    cql.execute(finding.mend)
    assert check(table=table)["table.course"].status == "ok"


def test_a_keyspace_without_durable_writes_is_mended_by_the_statement(
    settings: Settings, cql: Session, keyspace: str
) -> None:
    cql.execute(f"ALTER KEYSPACE {keyspace} WITH durable_writes = false")
    (finding,) = [each for each in run_checks(settings) if each.name == "table.course" and each.status == "fail"]
    assert finding.mend is not None
    cql.execute(finding.mend)
    assert all(each.status == "ok" for each in run_checks(settings) if each.name == "table.course")


def test_names_that_are_nearly_right(check: Check, keyspace: str) -> None:
    assert (
        check(table=TableName(keyspace, "enrolment"))["table.course"].mend == "did you mean enrolments for enrolment?"
    )
    findings = check(fields={"activ": "isActive"})
    assert findings["columns.course"].mend == "did you mean active for activ?"


@pytest.mark.parametrize(
    ("mapping", "hint"),
    [
        ({"where": {"activ": True}}, "did you mean 'active'?"),
        ({"where": "activ != true"}, "did you mean 'active'?"),
        ({"computed": {"x": "upper(usrid)"}}, "did you mean 'userid'?"),
        ({"json_text": {"usrid": {}}}, "did you mean 'userid'?"),
        ({"dates": {"activ": "yyyy"}}, "did you mean 'active'?"),
        ({"joins": {"x": {"on": {"usrid": "userid"}}}}, "did you mean 'userid'?"),
        ({"joins": {"x": {"on": {"userid": "userid"}, "order": ["-corseid"]}}}, "did you mean 'courseid'?"),
        ({"lookups": {"x": {"on": {"id": "userid"}, "fields": {"nam": "y"}}}}, "did you mean 'name'?"),
        ({"field_types": {"activ": {"type": "keyword"}}}, "did you mean 'active'?"),
    ],
)
def test_names_anywhere_in_a_mapping(
    check: Check, cql: Session, keyspace: str, mapping: dict[str, Any], hint: str
) -> None:
    cql.execute(f"CREATE TABLE {keyspace}.person (id text PRIMARY KEY, name text) WITH cdc = true")
    others = {"joins": f"{keyspace}.enrolments", "lookups": f"{keyspace}.person"}
    declared = {
        part: {"x": {**given["x"], "table": others[part]}} if part in others else given
        for part, given in mapping.items()
    }
    finding = check(**declared)["mapping.course"]
    assert (finding.status, finding.mend) == ("fail", hint)
    assert check()["mapping.course"].status == "ok"


def test_an_index_that_elasticsearch_will_not_create(check: Check, settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "mappings.json"
    finding = check(mappings={"properties": {"active": {"type": "nonsense"}}}, mappings_file=file)["index.course"]
    assert (finding.status, finding.mend) == ("fail", f"correct {file}")
    assert settings.mappings["course"].alias in finding.found
    assert "[nonsense] declared on field [active]" in finding.found
    finding = check(settings={"index.nonsense": True})["index.course"]
    assert finding.status == "fail"
    assert "index.nonsense" in finding.found


def test_an_index_of_the_aliass_name(check: Check, client: Elasticsearch, settings: Settings) -> None:
    client.indices.create(index=settings.mappings["course"].alias)
    finding = check()["index.course"]
    assert finding.status == "fail"
    assert "is an index" in finding.found


def test_an_index_that_the_alias_does_not_lead_to(check: Check, client: Elasticsearch, settings: Settings) -> None:
    client.indices.create(index=settings.mappings["course"].index)
    finding = check()["index.course"]
    assert finding.status == "fail"
    _send(client, finding)
    assert check()["index.course"].status == "ok"


def test_an_alias_without_a_write_index(
    check: Check, client: Elasticsearch, settings: Settings, index_prefix: str
) -> None:
    for number in (1, 2):
        client.indices.create(index=f"{index_prefix}{number}", aliases={settings.mappings["course"].alias: {}})
    finding = check()["index.course"]
    assert finding.status == "fail"
    _send(client, finding)
    assert f"points to {index_prefix}2" in check()["index.course"].found


def test_an_index_that_takes_no_writes(check: Check, client: Elasticsearch, settings: Settings) -> None:
    mapping = settings.mappings["course"]
    client.indices.create(
        index=mapping.index, aliases={mapping.alias: {}}, settings={"index.blocks.read_only_allow_delete": True}
    )
    finding = check()["index.course"]
    assert finding.status == "fail"
    assert "read_only_allow_delete" in finding.found
    _send(client, finding)
    assert check()["index.course"].status == "ok"


def test_a_closed_index(check: Check, client: Elasticsearch, settings: Settings) -> None:
    mapping = settings.mappings["course"]
    client.indices.create(index=mapping.index, aliases={mapping.alias: {}})
    client.indices.close(index=mapping.index)
    finding = check()["index.course"]
    assert finding.status == "fail"
    _send(client, finding)
    assert check()["index.course"].status == "ok"


def test_deletions_that_are_soon_forgotten(check: Check, client: Elasticsearch, settings: Settings) -> None:
    mapping = settings.mappings["course"]
    client.indices.create(index=mapping.index, aliases={mapping.alias: {}}, settings={"index.gc_deletes": "1s"})
    finding = check()["gc_deletes.course"]
    assert finding.status == "warn"
    _send(client, finding)
    assert check()["gc_deletes.course"].status == "ok"


def test_an_index_that_is_not_as_declared(check: Check, client: Elasticsearch, settings: Settings) -> None:
    declared: dict[str, Any] = {
        "settings": {"number_of_replicas": 0, "index": {"refresh_interval": "5s"}},
        "mappings": {
            "dynamic": "strict",
            "properties": {
                "userid": {"type": "keyword", "normalizer": "lowercase"},
                "courseid": {"type": "keyword"},
                "active": {"type": "boolean"},
            },
        },
    }
    mapping = settings.mappings["course"]
    properties = {**declared["mappings"]["properties"], "active": {"type": "keyword"}}
    del properties["courseid"]
    client.indices.create(
        index=mapping.index,
        aliases={mapping.alias: {}},
        settings={"number_of_replicas": 1},
        mappings={"dynamic": "strict", "properties": properties},
    )
    finding = check(**declared)["drift.course"]
    assert finding.status == "warn"
    for told in ("number_of_replicas: declared 0, found 1", "courseid: declared keyword, found nothing", "active.type"):
        assert told in finding.found

    client.indices.delete(index=mapping.index)
    client.indices.create(index=mapping.index, aliases={mapping.alias: {}}, **declared)
    assert check(**declared)["drift.course"].status == "ok"


def test_a_datacenter_that_the_cluster_does_not_have(settings: Settings) -> None:
    cassandra = settings.cassandra.model_copy(update={"local_datacenter": "dc9"})
    (finding,) = [
        each
        for each in run_checks(settings.model_copy(update={"cassandra": cassandra}))
        if each.name == "cassandra.reachable"
    ]
    assert finding.status == "fail"
    assert "'dc9'" in finding.found
    assert finding.mend == "the cluster has datacenter1"


@pytest.mark.parametrize("command", [["check"], ["preview", "course", "{}"], ["schema", "export"], ["run"]])
def test_a_wrong_datacenter_is_a_message_in_each_command(
    settings: Settings, tmp_path: Path, command: list[str]
) -> None:
    file = tmp_path / "config.yaml"
    plain = settings.redacted()
    plain["cassandra"]["local_datacenter"] = "dc9"
    plain["http"] = {"port": None}
    file.write_text(json.dumps(plain))
    program = [sys.executable, "-c", "from cdc_daemon.cli.main import main; main()", *command, "--config", str(file)]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == (1 if command == ["check"] else 2)
    assert "Traceback" not in ended.stderr
    assert "dc9" in ended.stdout + ended.stderr


@pytest.mark.parametrize(
    ("poll", "found"),
    [
        ({"strategy": "index", "column": "changed"}, "expected an index on the column"),
        ({"strategy": "scan", "column": "chnged"}, "'chnged'"),
        ({"strategy": "scan", "column": "spelt"}, "format"),
        ({"strategy": "scan", "column": "active"}, "boolean"),
        ({"strategy": "bucket", "column": "changed", "bucket": {"column": "day"}}, "partition key"),
    ],
)
def test_a_table_that_cannot_be_polled_as_declared(
    settings: Settings, cql: Session, keyspace: str, poll: dict[str, Any], found: str
) -> None:
    cql.execute(f"ALTER TABLE {keyspace}.enrolments ADD (changed timestamp, spelt text)")
    declared = PollSettings(table=TableName(keyspace, "enrolments"), **poll)
    findings = {each.name: each for each in run_checks(settings.model_copy(update={"poll": (declared,)}))}
    finding = findings[f"poll.{keyspace}.enrolments"]
    assert finding.status == "fail"
    assert found in finding.found


def test_a_table_that_can_be_polled(settings: Settings, keyspace: str) -> None:
    declared = PollSettings(table=TableName(keyspace, "enrolments"), strategy="scan")
    findings = {each.name: each for each in run_checks(settings.model_copy(update={"poll": (declared,)}))}
    assert findings[f"poll.{keyspace}.enrolments"].status == "ok"


def test_a_table_that_no_document_shows_is_not_polled(settings: Settings, keyspace: str) -> None:
    declared = PollSettings(table=TableName(keyspace, "other"), strategy="scan")
    findings = {each.name: each for each in run_checks(settings.model_copy(update={"poll": (declared,)}))}
    assert findings[f"poll.{keyspace}.other"].status == "fail"


def test_a_field_type_that_elasticsearch_does_not_have(check: Check) -> None:
    finding = check(field_types={"active": {"type": "nonsense"}})["index.course"]
    assert finding.status == "fail"
    assert "nonsense" in finding.found


def test_whether_the_documents_of_removed_rows_can_be_marked(
    check: Check, settings: Settings, client: Elasticsearch
) -> None:
    declared = settings.mappings["course"]
    assert "on_row_delete.course" not in check(on_row_delete="mark")  # there is no index yet
    assert check(on_row_delete="mark")["index.course"].status == "ok"
    client.indices.create(index=declared.index, aliases={declared.alias: {}})
    assert check(on_row_delete="mark")["on_row_delete.course"].status == "ok"
    client.indices.put_mapping(index=declared.index, properties={"deleted": {"type": "keyword"}})
    finding = check(on_row_delete="mark")["on_row_delete.course"]
    assert (finding.status, "'deleted' to be mapped as 'boolean'" in finding.found) == ("fail", True)
    renamed = check(on_row_delete="mark", removal_mark={"field": "gone"})["on_row_delete.course"]
    assert renamed.status == "ok"
    client.indices.create(index=f"{declared.index}-more", aliases={declared.alias: {"is_write_index": False}})
    client.indices.put_alias(index=declared.index, name=declared.alias, is_write_index=True)
    finding = check(on_row_delete="mark", removal_mark={"field": "gone"})["on_row_delete.course"]
    assert (finding.status, "one index behind the alias" in finding.found) == ("fail", True)


def test_drift_has_the_same_words_in_the_log_of_the_start(settings: Settings, client: Elasticsearch) -> None:
    declared = settings.mappings["course"]
    properties = {"userid": {"type": "keyword"}, "courseid": {"type": "keyword"}, "active": {"type": "keyword"}}
    client.indices.create(
        index=declared.index,
        aliases={declared.alias: {}},
        mappings={"dynamic": "strict", "properties": properties},
    )
    mapping = check_cassandra(settings).mappings["course"]

    async def prepare() -> None:
        async with AsyncExitStack() as stack:
            engine = connect_elasticsearch(settings.elasticsearch)
            stack.push_async_callback(engine.close)
            await Preparation(engine, settings.mappings, {declared.table: [mapping]}).at_start()

    with capture_logs() as logged:
        asyncio.run(prepare())
    (event,) = [each for each in logged if each["event"] == "elasticsearch.index_drift"]
    (finding,) = [each for each in run_checks(settings) if each.name == "drift.course"]
    assert (event["found"], event["hint"]) == (finding.found, finding.mend)


def test_an_index_whose_generated_fields_are_not_as_declared(
    check: Check, client: Elasticsearch, settings: Settings
) -> None:
    mapping = settings.mappings["course"]
    client.indices.create(
        index=mapping.index,
        aliases={mapping.alias: {}},
        mappings={"dynamic": "strict", "properties": {"userid": {"type": "text"}, "courseid": {"type": "keyword"}}},
    )
    finding = check()["drift.course"]
    assert finding.status == "warn"
    assert "courseid.type: declared text, found keyword" in finding.found
    assert "active" not in finding.found  # the daemon adds the field when it starts


def test_another_daemon_at_work(settings: Settings) -> None:
    with DaemonLock(state=settings.state.directory, folder=settings.commit_log.cdc_raw_directory):
        (finding,) = [each for each in run_checks(settings) if each.name == "daemon.running"]
    assert finding.status == "warn"
    (finding,) = [each for each in run_checks(settings) if each.name == "daemon.running"]
    assert finding.status == "ok"


def test_the_command(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(json.dumps(settings.redacted()))
    result = CliRunner().invoke(app, ["check", "--config", str(file), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["ok"] is True


def _send(client: Elasticsearch, finding: Finding) -> None:
    """Send the request that a finding's mend spells."""
    request = re.search(r"(PUT|POST) (/\S+)(?: (\{.*\}))?$", str(finding.mend))
    assert request is not None
    method, path, body = request.groups()
    headers = {"accept": "application/json", "content-type": "application/json"}
    client.perform_request(method, path, headers=headers, body=json.loads(body) if body else None)


def test_version_names_the_servers_that_answer(box: Sandbox, settings: Settings) -> None:
    assert list(server_versions(settings)) == [f"Cassandra {box.cassandra.version}", box.elasticsearch.engine.title]


def test_version_says_which_server_does_not_answer(settings: Settings) -> None:
    away = settings.model_copy(
        update={
            "cassandra": settings.cassandra.model_copy(update={"contact_points": ("127.0.0.1",), "port": 1}),
            "elasticsearch": ElasticsearchSettings(hosts=("http://127.0.0.1:1",)),
        }
    )
    cassandra, engine = server_versions(away)
    assert cassandra.startswith("Cassandra: expected Cassandra to answer, found 127.0.0.1:1")
    assert engine.startswith("search engine: ")
