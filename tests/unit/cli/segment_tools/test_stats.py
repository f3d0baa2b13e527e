from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.cli.segment_tools.stats import KEPT, DistinctCounter
from tests.unit.cli.segment_tools.conftest import FIRST, SAMPLE, Run, expected_lines


def _counted(run: Run, sample: Path, *arguments: object) -> dict[str, Any]:
    result = run("stats", "--json", "--schema", sample / "schema.json", *arguments)
    assert result.exit_code == 0, result.stderr
    counted: dict[str, Any] = json.loads(result.stdout)
    return counted


def _answers() -> list[dict[str, Any]]:
    return [json.loads(line) for line in expected_lines(SAMPLE)]


def test_counts_are_those_of_the_answer_sheet(sample: Path, run: Run) -> None:
    tables = {each["table"]: each for each in _counted(run, sample, sample)["tables"]}
    answers = _answers()
    assert {name: each["updates"] for name, each in tables.items()} == Counter(each["table"] for each in answers)
    for name, table in tables.items():
        mine = [each for each in answers if each["table"] == name]
        rows = [row for each in mine for row in [*each["rows"], *filter(None, [each["static"]])]]
        assert table["mutations"] == len({(each["segment_id"], each["position"]) for each in mine})
        assert table["partitions"] == len({each["partition_key"] for each in mine})
        assert table["rows"] == sum(bool(row["timestamp"] is not None or row["columns"]) for row in rows)
        assert table["deletions"] == {
            "partitions": sum(each["deleted_at"] is not None for each in mine),
            "ranges": sum(len(each["range_tombstones"]) for each in mine),
            "rows": sum(row["deleted_at"] is not None for row in rows),
            "cells": sum(
                cell["value"] is None for row in rows for column in row["columns"].values() for cell in column["cells"]
            ),
            "collections": sum(
                column.get("deleted_at") is not None for row in rows for column in row["columns"].values()
            ),
        }
        assert (table["oldest_write"], table["newest_write"]) == _span(mine)


def _span(answers: list[dict[str, Any]]) -> tuple[int, int]:
    """The least and the greatest of everything that is a write time in the answer sheet."""
    times: list[int] = []

    def walk(value: Any, name: str = "") -> None:
        if isinstance(value, dict):
            for key, each in value.items():
                walk(each, key)
        elif isinstance(value, list):
            for each in value:
                walk(each)
        elif value is not None and name in {"timestamp", "deleted_at"}:
            times.append(value)

    walk(answers)
    return min(times), max(times)


def test_bytes_and_mutations_of_each_segment(sample: Path, run: Run) -> None:
    counted = _counted(run, sample, sample)
    first, second, third = counted["segments"]
    assert (first["mutations"], second["mutations"], third["mutations"]) == (1417, 356, 0)
    assert first["end"] == 1_030_406
    assert first["bytes"] == 1 << 20
    assert first["newest_write"] < second["newest_write"]
    assert third["oldest_write"] is None
    assert counted["mutations"] == 1773
    assert counted["unknown_updates"] == 263
    assert sum(each["bytes"] for each in counted["tables"]) < counted["bytes"] < first["end"] + second["end"]


def test_for_people(sample: Path, run: Run) -> None:
    result = run("stats", "--schema", sample / "schema.json", sample)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split()[:4] == ["table", "mutations", "bytes", "partitions"]
    assert any(line.split()[:2] == ["probe.alltypes", "210"] for line in lines)
    assert lines[-1].startswith("1773 mutations, 1.5 MiB, in 3 segments")


def test_only_some_tables(sample: Path, run: Run) -> None:
    counted = _counted(run, sample, "--table", "plain", sample)
    assert [each["table"] for each in counted["tables"]] == ["probe.plain"]


def test_damage_is_told_and_the_rest_counted(sample: Path, run: Run) -> None:
    data = bytearray((sample / FIRST).read_bytes())
    data[300_000] ^= 1
    (sample / FIRST).write_bytes(data)
    result = run("stats", "--json", "--schema", sample / "schema.json", sample)
    assert result.exit_code == 1
    assert "mutation's CRC" in result.stderr
    assert json.loads(result.stdout)["mutations"] == 1772
    assert json.loads(result.stdout)["problems"] == 1


@given(st.lists(st.binary(max_size=3)))
def test_few_different_values_are_counted_exactly(values: list[bytes]) -> None:
    counter = DistinctCounter()
    for value in values:
        counter.add(value)
    assert counter.exact
    assert counter.count == len(set(values))


def test_many_different_values_are_estimated() -> None:
    counter = DistinctCounter()
    count = 10 * KEPT
    for _ in range(2):
        for number in range(count):
            counter.add(number.to_bytes(4, "big"))
    assert not counter.exact
    assert abs(counter.count - count) < count / 16, "four standard errors"


def test_as_many_as_are_kept_are_exact() -> None:
    counter = DistinctCounter()
    for number in range(KEPT):
        counter.add(number.to_bytes(4, "big"))
    assert (counter.exact, counter.count) == (True, KEPT)
