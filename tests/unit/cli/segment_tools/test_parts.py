"""The small parts: JSON values, spellings, progress, help."""

from __future__ import annotations

import io
import json
from collections import namedtuple
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cassandra.util import Date, Duration, OrderedMapSerializedKey, SortedSet, Time
from typer.testing import CliRunner

from cdc_daemon.cli.main import app
from cdc_daemon.cli.segment_tools import output, progress
from cdc_daemon.cli.segment_tools.progress import Progress
from cdc_daemon.cli.segment_tools.readable import readable
from cdc_daemon.model.errors import ConfigError
from cdc_daemon.sources.log.keyring import open_keyring
from tests.unit.cli.segment_tools.conftest import SAMPLE, unpack

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


@pytest.mark.parametrize(
    ("size", "spelt"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1 << 20, "1.0 MiB"), (3 << 29, "1.5 GiB"), (1 << 41, "2.0 TiB")],
)
def test_sizes(size: int, spelt: str) -> None:
    assert output.spell_bytes(size) == spelt


@pytest.mark.parametrize(
    ("seconds", "spelt"), [(-3, "0s"), (59, "59s"), (60, "1m"), (3599, "59m"), (7200, "2h"), (200_000, "2d")]
)
def test_ages(seconds: float, spelt: str) -> None:
    assert output.spell_age(seconds) == spelt


@pytest.mark.parametrize(
    ("moment", "spelt"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_795_461_450_306_785, "2026-11-23T19:17:30.306Z"),
        (2**62, str(2**62)),
        (-(2**62), str(-(2**62))),
    ],
)
def test_write_times(moment: int, spelt: str) -> None:
    assert output.spell_time(moment) == spelt


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class TestProgress:
    @pytest.fixture(autouse=True)
    def _impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(progress, "_PATIENCE", 0)
        monkeypatch.setattr(progress, "_INTERVAL", 0)

    def test_on_a_terminal(self) -> None:
        terminal = _Terminal()
        line = Progress(terminal)
        line.step("CommitLog-7-1.log", 1 << 20, 4 << 20)
        assert "CommitLog-7-1.log  25 % of 4.0 MiB" in terminal.getvalue()
        line.clear()
        assert terminal.getvalue().endswith("\r\x1b[2K")

    def test_never_more_than_all(self) -> None:
        terminal = _Terminal()
        Progress(terminal).step("compressed", 9, 3)
        assert "100 %" in terminal.getvalue()

    def test_elsewhere_there_is_none(self) -> None:
        stream = io.StringIO()
        line = Progress(stream)
        line.step("x", 1, 2)
        line.clear()
        assert stream.getvalue() == ""


class TestKeyring:
    def test_none_is_asked_for(self) -> None:
        assert open_keyring(None, None, None) is None

    def test_a_password_without_a_keystore(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="expected a keystore"):
            open_keyring(None, tmp_path / "password", None)

    def test_a_keystore_without_a_password(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("CDC_DAEMON_KEYSTORE_PASSWORD", raising=False)
        with pytest.raises(ConfigError, match="password, found none"):
            open_keyring(tmp_path / "keys.jceks", None, None)

    def test_files_that_cannot_be_read(self, tmp_path: Path) -> None:
        (tmp_path / "password").write_text("hunter2")
        with pytest.raises(ConfigError, match="expected a keystore") as caught:
            open_keyring(tmp_path / "absent", tmp_path / "password", None)
        assert "hunter2" not in str(caught.value)
        with pytest.raises(ConfigError, match="expected a password"):
            open_keyring(tmp_path / "absent", tmp_path / "no-password", None)

    def test_another_kind_of_keystore(self, tmp_path: Path) -> None:
        (tmp_path / "password").write_text("hunter2")
        (tmp_path / "keys").write_bytes(b"\x30\x82" + bytes(100))
        with pytest.raises(ConfigError, match="expected a JCEKS keystore") as caught:
            open_keyring(tmp_path / "keys", tmp_path / "password", None)
        assert caught.value.where["keystore"] == str(tmp_path / "keys")


@pytest.mark.parametrize(
    "command",
    [
        ["segments"],
        *(["segments", each] for each in ("list", "dump", "verify", "stats")),
        ["schema"],
        ["schema", "export"],
    ],
)
def test_every_command_has_help(command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert len(result.stdout) > 100


def test_samples_unpack_as_cassandra_had_them(tmp_path: Path) -> None:
    names = {path.name for path in unpack(SAMPLE, tmp_path / "x").iterdir()}
    assert {"CommitLog-7-1795461419810.log", "CommitLog-7-1795461419810_cdc.idx", "schema.json"} <= names
