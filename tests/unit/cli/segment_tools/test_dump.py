from __future__ import annotations

import json
from collections import namedtuple
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cassandra.util import Date, Duration, OrderedMapSerializedKey, SortedSet, Time

from cdc_daemon.cli.segment_tools.dump import StartPosition, parse_position, readable
from cdc_daemon.model.errors import ConfigError
from tests.unit.cli.segment_tools.conftest import ENCRYPTED, FIRST, SAMPLE, SECOND, Run, expected_lines, unpack
from tests.unit.commitlog.samples import PASSWORD, names


@pytest.mark.parametrize("name", names())
def test_raw_is_the_answer_sheet_line_by_line(name: str, tmp_path: Path, run: Run) -> None:
    folder = unpack(name, tmp_path / "segments")
    keys: list[object] = []
    if (folder / "keystore.jceks").exists():
        (tmp_path / "password").write_text(PASSWORD + "\n")
        keys = ["--keystore", folder / "keystore.jceks", "--keystore-password-file", tmp_path / "password"]
    keyspace = json.loads(expected_lines(name)[0])["table"].partition(".")[0]
    result = run("dump", "--raw", "--schema", folder / "schema.json", "--keyspace", keyspace, *keys, folder)
    assert result.exit_code == 0, result.stderr
    theirs = [json.loads(line) for line in expected_lines(name)]
    for each in theirs:
        each.pop("local_deletion_times", None)  # the raw form has none
    assert [json.loads(line) for line in result.stdout_bytes.splitlines()] == theirs


def test_raw_is_the_answer_sheet_byte_by_byte(sample: Path, run: Run) -> None:
    result = run("dump", "--raw", "--schema", sample / "schema.json", sample)
    assert result.stdout_bytes.splitlines() == expected_lines(SAMPLE)


def test_decoded_values_are_values(sample: Path, run: Run) -> None:
    result = run("dump", "--schema", sample / "schema.json", "--table", "alltypes", sample)
    assert result.exit_code == 0, result.stderr
    first = json.loads(result.stdout.splitlines()[0])
    assert (first["keyspace"], first["table"]) == ("probe", "alltypes")
    assert first["partition_key"] == {"k1": "key0", "k2": -1}
    assert first["static"]["columns"]["st"]["value"] == "static 0"
    row = first["rows"][0]
    assert row["clustering"]["c2"] == "ç0"
    assert row["columns"]["a"]["value"] == "ascii0"
    assert row["columns"]["bo"]["value"] is False
    assert row["columns"]["bl"]["value"].startswith("0x")


def test_one_line_for_each_update_in_both_forms(sample: Path, run: Run) -> None:
    decoded = run("dump", "--schema", sample / "schema.json", sample).stdout.splitlines()
    assert [json.loads(line)["position"] for line in decoded] == [
        json.loads(line)["position"] for line in expected_lines(SAMPLE)
    ]
    assert not any("undecoded" in line for line in decoded)


def test_unknown_tables_are_counted_at_the_end(sample: Path, tmp_path: Path, run: Run) -> None:
    snapshot = json.loads((sample / "schema.json").read_text())
    snapshot["tables"] = [row for row in snapshot["tables"] if row["table_name"] != "many"]
    fewer = tmp_path / "fewer.json"
    fewer.write_text(json.dumps(snapshot))
    result = run("dump", "--raw", "--schema", fewer, sample)
    assert result.exit_code == 0
    assert "7f97f870-e772-11f1-bc9f-47671d181370 (40)" in result.stderr
    assert "updates of Cassandra's system tables" in result.stderr
    assert len(result.stdout_bytes.splitlines()) == len(expected_lines(SAMPLE)) - 40


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (["--table", "plain"], {"probe.plain"}),
        (["--table", "probe.wide", "-t", "vec"], {"probe.wide", "probe.vec"}),
        (["--keyspace", "probe", "--table", "quiet"], {"probe.quiet"}),
    ],
)
def test_only_the_tables_asked_for(options: list[str], wanted: set[str], sample: Path, run: Run) -> None:
    result = run("dump", "--raw", "--schema", sample / "schema.json", *options, sample)
    assert result.stdout_bytes.splitlines() == [
        line for line in expected_lines(SAMPLE) if json.loads(line)["table"] in wanted
    ]


def test_a_slip_of_the_pen_in_a_table_is_told(sample: Path, run: Run) -> None:
    result = run("dump", "--schema", sample / "schema.json", "--table", "plian", sample)
    assert isinstance(result.exception, ConfigError)
    assert result.exception.hint == "did you mean plain?"
    assert result.stdout == ""


class TestFrom:
    def test_goes_on_behind_any_line(self, sample: Path, run: Run) -> None:
        lines = expected_lines(SAMPLE)
        for number in (0, 700, 1300, len(lines) - 2):
            at = json.loads(lines[number])
            position = f"{at['segment_id']}:{at['position']}"
            result = run("dump", "--raw", "--schema", sample / "schema.json", "--from", position, sample)
            behind = [
                line
                for line in lines
                if (json.loads(line)["segment_id"], json.loads(line)["position"]) > (at["segment_id"], at["position"])
            ]
            assert result.exit_code == 0
            assert result.stdout_bytes.splitlines() == behind

    def test_an_offset_alone_is_of_the_one_segment(self, sample: Path, run: Run) -> None:
        result = run("dump", "--raw", "--schema", sample / "schema.json", "--from", "300000", sample / SECOND)
        found = [json.loads(line)["position"] for line in result.stdout_bytes.splitlines()]
        assert found
        assert min(found) > 300_000

    def test_an_offset_in_the_midst_of_an_entry_is_no_damage(self, sample: Path, run: Run) -> None:
        at = json.loads(expected_lines(SAMPLE)[500])
        whole = run("dump", "--raw", "--schema", sample / "schema.json", "--from", at["position"], sample / FIRST)
        midst = run("dump", "--raw", "--schema", sample / "schema.json", "--from", at["position"] + 3, sample / FIRST)
        assert midst.exit_code == 0
        assert midst.stdout == whole.stdout

    def test_an_offset_alone_is_ambiguous_with_several_segments(self, sample: Path, run: Run) -> None:
        assert run("dump", "--schema", sample / "schema.json", "--from", "7", sample).exit_code == 2

    def test_a_segment_that_is_past_is_left_out(self, sample: Path, run: Run) -> None:
        result = run("dump", "--raw", "--schema", sample / "schema.json", "--from", "1795461419811:0", sample)
        assert {json.loads(line)["segment_id"] for line in result.stdout_bytes.splitlines()} == {1795461419811}

    @pytest.mark.parametrize("text", ["", "x", "1:", ":1", "-1", "1:2:3", "1.5", "٣"])
    def test_what_is_no_position(self, text: str) -> None:
        with pytest.raises(ConfigError, match="expected OFFSET or SEGMENT:OFFSET"):
            parse_position(text)

    def test_positions(self) -> None:
        assert parse_position("12") == StartPosition(None, 12)
        assert parse_position("7:12") == StartPosition(7, 12)


class TestPaths:
    def test_a_list_on_standard_input(self, sample: Path, run: Run) -> None:
        listed = f"{sample / SECOND}\n\n{sample / FIRST}\r\n"
        result = run("dump", "--raw", "--schema", sample / "schema.json", "-", standard_input=listed)
        order = [json.loads(line)["segment_id"] for line in result.stdout_bytes.splitlines()]
        assert result.exit_code == 0
        assert order == sorted(order, reverse=True)
        assert len(order) == len(expected_lines(SAMPLE))

    def test_index_files_are_passed_over(self, sample: Path, run: Run) -> None:
        files = sorted(sample.glob("CommitLog-*"))
        result = run("dump", "--raw", "--schema", sample / "schema.json", *files)
        assert result.exit_code == 0
        assert result.stdout_bytes.splitlines() == expected_lines(SAMPLE)

    def test_what_is_not_there_is_wrong_usage(self, sample: Path, run: Run) -> None:
        result = run("dump", "--schema", sample / "schema.json", sample / FIRST, sample / "absent.log")
        assert result.exit_code == 2
        assert result.stdout == ""

    def test_what_is_not_there_in_a_list_lets_others_go_on(self, sample: Path, run: Run) -> None:
        listed = f"{sample / 'absent.log'}\n{sample / FIRST}\n{sample / SECOND}\n"
        result = run("dump", "--raw", "--schema", sample / "schema.json", "-", standard_input=listed)
        assert result.exit_code == 1
        assert "absent.log" in result.stderr
        assert result.stdout_bytes.splitlines() == expected_lines(SAMPLE)


class TestWhatCannotBeRead:
    def test_a_version_that_is_not_known_lets_others_go_on(self, sample: Path, run: Run) -> None:
        broken = bytearray((sample / FIRST).read_bytes())
        broken[3] = 9
        (sample / FIRST).unlink()
        (sample / FIRST.replace("-7-", "-9-")).write_bytes(broken)
        result = run("dump", "--raw", "--schema", sample / "schema.json", sample)
        assert result.exit_code == 1
        assert "expected segment version 6, 7 or 8, found 9" in result.stderr
        assert result.stdout_bytes.splitlines() == [
            line for line in expected_lines(SAMPLE) if json.loads(line)["segment_id"] == 1795461419811
        ]

    @pytest.mark.parametrize("name", ENCRYPTED)
    def test_an_encrypted_segment_without_a_key(self, name: str, sample: Path, tmp_path: Path, run: Run) -> None:
        encrypted = unpack(name, tmp_path / "encrypted")
        result = run("dump", "--raw", "--schema", sample / "schema.json", encrypted, sample)
        assert result.exit_code == 1
        assert "the segment is encrypted" in result.stderr
        assert result.stdout_bytes.splitlines() == expected_lines(SAMPLE)

    def test_a_damaged_entry_costs_only_itself(self, sample: Path, run: Run) -> None:
        damaged = json.loads(expected_lines(SAMPLE)[200])
        data = bytearray((sample / FIRST).read_bytes())
        data[damaged["position"] - 20] ^= 1
        (sample / FIRST).write_bytes(data)
        result = run("dump", "--raw", "--schema", sample / "schema.json", sample)
        assert result.exit_code == 1
        assert f"end {damaged['position']}" in result.stderr
        place = damaged["segment_id"], damaged["position"]
        assert result.stdout_bytes.splitlines() == [
            line
            for line in expected_lines(SAMPLE)
            if (json.loads(line)["segment_id"], json.loads(line)["position"]) != place
        ]

    def test_no_schema_at_all_says_how_to_name_one(self, sample: Path, run: Run) -> None:
        result = run("dump", sample)
        assert isinstance(result.exception, ConfigError)
        assert "--schema" in str(result.exception.hint)

    @pytest.mark.parametrize("content", ["", "[]", "{}x", '{"tables": [{}]}', '{"tables": 3}', "\x00"])
    def test_a_snapshot_that_is_none(self, content: str, sample: Path, run: Run) -> None:
        (sample / "schema.json").write_text(content)
        result = run("dump", "--schema", sample / "schema.json", sample)
        assert isinstance(result.exception, ConfigError)
        assert "expected a snapshot" in result.exception.message


Place = namedtuple("Place", ["street", "codes"])  # noqa: PYI024 -- as the driver makes a UDT's class


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        (True, True),
        (7, 7),
        (2**200, 2**200),
        ("ç", "ç"),
        (1.5, 1.5),
        (float("nan"), "NaN"),
        (float("inf"), "Infinity"),
        (float("-inf"), "-Infinity"),
        (b"\x00\xff", "0x00ff"),
        (b"", "0x"),
        (Decimal("1.50"), "1.50"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC).replace(tzinfo=None), "2026-01-02T03:04:05.678Z"),
        (datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=2))), "2026-01-01T22:00:00.000Z"),
        (Date(20_000), "2024-10-04"),
        (Time(1), "00:00:00.000000001"),
        (Duration(1, 2, 3), "1mo2d3ns"),
        (SortedSet([3, 1]), [1, 3]),
        ((1, b"\x01", None), [1, "0x01", None]),
        (Place("s", {1, 2}), {"street": "s", "codes": [1, 2]}),
        ({UUID(int=1): {"a": b""}, 7: (1,)}, {"00000000-0000-0000-0000-000000000001": {"a": "0x"}, "7": [1]}),
    ],
)
def test_every_kind_of_value_is_json(value: Any, shown: Any) -> None:
    assert readable(value) == shown
    json.dumps(readable(value), allow_nan=False)


def test_the_drivers_maps_are_objects() -> None:
    from cassandra.cqltypes import Int32Type, UTF8Type  # noqa: PLC0415

    kind = OrderedMapSerializedKey(Int32Type, 4)
    kind._insert_unchecked(5, Int32Type.serialize(5, 4), "five")
    assert readable(kind) == {"5": "five"}
    assert UTF8Type.typename == "text"
