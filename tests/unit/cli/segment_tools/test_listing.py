from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest

from cdc_daemon.model.errors import CassandraUnavailableError, ConfigError
from cdc_daemon.store import Store
from cdc_daemon.store.table_history import TableDefinition
from tests.segments import CommitLogWriter, MovedSegmentWriter, user
from tests.unit.cli.segment_tools.conftest import FIRST, SAMPLE, Run, expected_lines

THIRD = "CommitLog-7-1795461419812.log"


@pytest.fixture
def config(sample: Path, tmp_path: Path) -> Path:
    """A configuration whose cdc_raw is the sample, whose state nobody has written yet, and whose cluster is down."""
    file = tmp_path / "config.yaml"
    file.write_text(
        f"""
cassandra: {{contact_points: [127.0.0.1], port: 1}}
commit_log: {{cdc_raw_directory: {sample}}}
state: {{directory: {tmp_path / "state"}}}
mappings: {{user: {{table: probe.plain, alias: plain}}}}
"""
    )
    return file


def _listed(run: Run, *arguments: object) -> list[dict[str, Any]]:
    result = run("list", "--json", *arguments)
    assert result.exit_code == 0, result.stderr
    listed: list[dict[str, Any]] = json.loads(result.stdout)
    return listed


def test_what_is_in_each_segment(sample: Path, run: Run) -> None:
    first, second, third = _listed(run, "--schema", sample / "schema.json", sample)
    assert [each["id"] for each in (first, second, third)] == [1795461419810, 1795461419811, 1795461419812]
    assert first["index"] == {"offset": 1030406, "completed": True}
    assert second["index"] == {"offset": 518234, "completed": False}
    assert (third["index"], third["has_index"]) == (None, False)
    assert first["bytes"] == 1 << 20
    answers = [json.loads(line) for line in expected_lines(SAMPLE)]
    for each in (first, second):
        assert each["tables"]["probe.plain"] == sum(
            (answer["segment_id"], answer["table"]) == (each["id"], "probe.plain") for answer in answers
        )
    assert "probe.quiet" not in second["tables"], "it has no CDC"
    assert second["other_tables"]["probe.quiet"] == 62
    assert third["tables"] == {}
    assert all(each["consumed"] is None for each in (first, second, third))


def test_for_people(sample: Path, run: Run) -> None:
    hours_ago = time.time() - 3 * 3600 - 5
    os.utime(sample / FIRST, (hours_ago, hours_ago))
    result = run("list", "--schema", sample / "schema.json", sample)
    assert result.exit_code == 0
    heading, first, second, third = result.stdout.splitlines()
    assert heading.split() == ["segment", "index", "size", "age", "consumed", "CDC", "tables", "(updates)"]
    assert first.split()[:7] == [FIRST, "1030406", "completed", "1.0", "MiB", "3h", "?"]
    assert "probe.wide (1011)" in first
    assert "518234" in second
    assert third.split()[1] == "none"


def test_without_a_schema_tables_are_told_by_their_ids(sample: Path, run: Run) -> None:
    _, second, _ = _listed(run, sample)
    assert second["tables"] == {}
    assert second["other_tables"]["7f97f870-e772-11f1-bc9f-47671d181370"] == 40
    assert second["updates_of_system_tables"] > 0


def test_quick_does_not_look_inside(sample: Path, run: Run) -> None:
    data = bytearray((sample / FIRST).read_bytes())
    data[300_000] ^= 1
    (sample / FIRST).write_bytes(data)
    assert run("list", "--quick", sample).exit_code == 0
    assert all(each["tables"] is None for each in _listed(run, "--quick", sample))
    assert run("list", sample).exit_code == 1


def test_a_list_on_standard_input(sample: Path, run: Run) -> None:
    result = run("list", "--json", "--quick", "-", standard_input=f"{sample / THIRD}\n{sample / FIRST}\n")
    assert [each["id"] for each in json.loads(result.stdout)] == [1795461419812, 1795461419810]


def test_no_path_and_no_configuration(run: Run) -> None:
    assert isinstance(run("list").exception, ConfigError)


def test_what_a_segment_that_cannot_be_read_says(sample: Path, run: Run) -> None:
    data = bytearray((sample / FIRST).read_bytes())
    data[3] = 9
    (sample / FIRST).unlink()
    (sample / FIRST.replace("-7-", "-9-")).write_bytes(data)
    result = run("list", "--json", sample)
    assert result.exit_code == 1
    assert "expected segment version 6, 7 or 8, found 9" in result.stderr
    assert [len(each["problems"]) for each in json.loads(result.stdout)] == [1, 0, 0]


@pytest.mark.parametrize("option", ["--quick", "--json"])
def test_a_damaged_header_is_told_and_passed(option: str, sample: Path, run: Run) -> None:
    data = bytearray((sample / FIRST).read_bytes())
    data[8] ^= 1
    (sample / FIRST).write_bytes(data)
    result = run("list", "--json", option, sample)
    assert result.exit_code == 1
    first, *others = json.loads(result.stdout)
    assert ["the header's CRC" in problem for problem in first["problems"]] == [True]
    assert first["version"] == 7
    assert all(not each["problems"] for each in others)


class TestWhatTheDaemonRemembers:
    def test_consumed_or_not(self, config: Path, tmp_path: Path, run: Run) -> None:
        store = Store(tmp_path / "state")
        store.checkpoints.mark_consumed(1795461419810, 1_030_406)
        store.checkpoints.save("commitlog", 1795461419811, 300_000)
        first, second, third = _listed(run, "--quick", "--config", config)
        assert (first["consumed"], first["consumed_up_to"]) == ("yes", 1_030_406)
        assert (second["consumed"], second["consumed_up_to"]) == ("partly", 300_000)
        assert (third["consumed"], third["consumed_up_to"]) == ("no", None)
        shown = run("list", "--quick", "--config", config).stdout.splitlines()
        assert "yes" in shown[1].split()
        assert "up to 300000" in shown[2]
        store.close()
        assert [each["consumed"] for each in _listed(run, "--quick", "--config", config)] == ["yes", "partly", "no"]

    def test_looking_leaves_no_trace(self, config: Path, tmp_path: Path, run: Run) -> None:
        _listed(run, "--quick", "--config", config)
        assert not (tmp_path / "state").exists()
        Store(tmp_path / "state").close()
        before = sorted(path.name for path in (tmp_path / "state").iterdir())
        _listed(run, "--quick", "--config", config)
        assert sorted(path.name for path in (tmp_path / "state").iterdir()) == before

    def test_a_cluster_that_is_down(
        self, config: Path, sample: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def down(*_: object) -> None:
            raise CassandraUnavailableError("expected Cassandra to answer, found nothing")

        monkeypatch.setattr("cdc_daemon.cli.segment_tools.tables.connect", down)
        result = run("list", "--json", "--config", config)
        assert result.exit_code == 0
        assert "tables are shown by their ids" in result.stderr
        assert isinstance(run("dump", "--config", config, sample).exception, CassandraUnavailableError)
        store = Store(tmp_path / "state")
        store.schema_history.record([_definition(sample, "plain")])
        store.close()
        remembered = run("dump", "--raw", "--config", config, sample)
        assert remembered.exit_code == 0
        assert "using the schema history of the daemon" in remembered.stderr
        assert remembered.stdout_bytes.splitlines() == [
            line for line in expected_lines(SAMPLE) if json.loads(line)["table"] == "probe.plain"
        ]


def _definition(sample: Path, name: str) -> TableDefinition:
    """What a daemon would have kept of one table of the sample's snapshot."""
    snapshot = json.loads((sample / "schema.json").read_text())
    parts = {
        part: [row for row in snapshot[part] if row["table_name"] == name]
        for part in ("tables", "columns", "dropped_columns")
    }
    table_id = bytes.fromhex(parts["tables"][0]["id"].replace("-", ""))
    return TableDefinition(table_id, "probe", name, json.dumps({**parts, "types": snapshot["types"]}))


def test_the_active_segments_of_3_11_are_listed_too(config: Path, run: Run, tmp_path: Path) -> None:
    home = tmp_path / "3.11"
    home.mkdir()
    node = CommitLogWriter(home, make_segment=MovedSegmentWriter)
    node.write(user("a"))
    node.current.mark()
    (node.storage / "CommitLog-7-1795461419999.log").touch()  # of a later release, which links it in cdc_raw
    folders = f"{{cdc_raw_directory: {node.cdc_raw}, commitlog_directory: {node.storage}}}"
    text = config.read_text().replace("commit_log: {", f"commit_log: {folders} #")
    config.write_text(text)
    listed = _listed(run, "--config", config, "--quick")
    assert [each["path"] for each in listed] == [str(segment.path) for segment in node.segments]

    config.write_text(text.replace(str(node.storage), str(tmp_path / "nowhere")))
    result = run("list", "--config", config)
    assert result.exit_code == 2
    assert "nowhere" in re.sub(r"[\s│]", "", result.stderr)  # a long path is broken into lines of a box
