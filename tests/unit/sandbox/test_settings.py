from __future__ import annotations

from typing import Any

import pytest

from sandbox.errors import SandboxError
from sandbox.settings import CASSANDRA_DEFAULTS, cassandra_settings, merge, parse_assignments


def test_changes_win_over_defaults_and_placement_over_changes() -> None:
    settings = cassandra_settings(
        "5.0.6", {"num_tokens": 4, "commitlog_directory": "/elsewhere"}, {"commitlog_directory": "/here"}
    )

    assert settings["num_tokens"] == 4
    assert settings["commitlog_directory"] == "/here"
    assert settings["cdc_enabled"] is True
    assert settings["commitlog_sync_period"] == "10000ms"


def test_none_removes_a_setting_and_the_defaults_stay_as_they_are() -> None:
    before = dict(CASSANDRA_DEFAULTS)

    assert "auto_snapshot" not in cassandra_settings("5.0.6", {"auto_snapshot": None}, {})
    assert before == CASSANDRA_DEFAULTS


def test_mappings_are_merged_key_by_key() -> None:
    base = {"options": {"enabled": False, "cipher": "AES"}, "other": 1}

    assert merge(base, {"options": {"enabled": True}}) == {
        "options": {"enabled": True, "cipher": "AES"},
        "other": 1,
    }
    assert base["options"] == {"enabled": False, "cipher": "AES"}


@pytest.mark.parametrize("mode", ["batch", "group"])
def test_the_period_goes_when_the_commit_log_is_not_synced_periodically(mode: str) -> None:
    assert "commitlog_sync_period" not in cassandra_settings("5.0.6", {"commitlog_sync": mode}, {})


def test_4_0_gets_its_own_names_and_plain_numbers() -> None:
    settings = cassandra_settings("4.0.18", {"commitlog_sync_period": "2s", "cdc_total_space": "1GiB"}, {})

    assert settings["commitlog_sync_period_in_ms"] == 2000
    assert settings["cdc_total_space_in_mb"] == 1024
    assert settings["commitlog_segment_size_in_mb"] == 4
    assert not {"commitlog_sync_period", "cdc_total_space", "commitlog_segment_size"} & settings.keys()


@pytest.mark.parametrize("version", ["5.0.6", "4.1.10"])
def test_old_names_replace_the_default_of_the_new_one(version: str) -> None:
    settings = cassandra_settings(version, {"commitlog_sync_period_in_ms": 50}, {})

    assert settings["commitlog_sync_period"] == "50ms"
    assert "commitlog_sync_period_in_ms" not in settings


@pytest.mark.parametrize("value", ["10", "ten ms", "10 parsecs", 10])
def test_4_0_needs_a_unit_to_translate(value: object) -> None:
    with pytest.raises(SandboxError, match="number with a unit") as caught:
        cassandra_settings("4.0.18", {"commitlog_sync_period": value}, {})

    assert caught.value.where == {"setting": "commitlog_sync_period"}


@pytest.mark.parametrize(
    ("assignments", "expected"),
    [
        ([], {}),
        (["cdc_enabled=false"], {"cdc_enabled": False}),
        (["commitlog_sync_period=50ms", "num_tokens=8"], {"commitlog_sync_period": "50ms", "num_tokens": 8}),
        (["a.b=1", "a.c.d=[x, y]"], {"a": {"b": 1, "c": {"d": ["x", "y"]}}}),
        (["name=a=b"], {"name": "a=b"}),
        (
            ["commitlog_compression=[{class_name: LZ4Compressor}]"],
            {"commitlog_compression": [{"class_name": "LZ4Compressor"}]},
        ),
    ],
)
def test_assignments_are_yaml_with_nested_keys(assignments: list[str], expected: dict[str, Any]) -> None:
    assert parse_assignments(assignments) == expected


@pytest.mark.parametrize("assignment", ["cdc_enabled", "=1", "a..b=1", "a.=1", "a=[1"])
def test_misspelt_assignments_are_refused(assignment: str) -> None:
    with pytest.raises(SandboxError, match="expected"):
        parse_assignments([assignment])


def test_a_value_has_no_settings_below_it() -> None:
    with pytest.raises(SandboxError, match="expected settings below a, found 1"):
        parse_assignments(["a=1", "a.b=2"])


def test_an_empty_assignment_takes_the_setting_away() -> None:
    assert "auto_snapshot" not in cassandra_settings("5.0.6", parse_assignments(["auto_snapshot="]), {})
