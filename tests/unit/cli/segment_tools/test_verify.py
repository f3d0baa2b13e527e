from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdc_daemon.cli.segment_tools.reporting import ProgressLine
from cdc_daemon.cli.segment_tools.verify import verify
from cdc_daemon.commitlog.descriptor import parse_segment_name
from tests.unit.cli.segment_tools.conftest import ENCRYPTED, FIRST, SAMPLE, SECOND, Run, unpack
from tests.unit.commitlog.samples import PASSWORD, names


class _Nowhere:
    def isatty(self) -> bool:
        return False


def _verified(run: Run, *paths: object) -> tuple[int, dict[str, Any]]:
    result = run("verify", "--json", *paths)
    return result.exit_code, json.loads(result.stdout)


def _change(file: Path, at: int, flip: int = 1) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= flip
    file.write_bytes(data)


def _markers(data: bytes, segment_id: int) -> list[tuple[int, int]]:
    """File positions of markers and of what they point at, by a walk of the test's own."""
    position = struct.calcsize(">iqH") + int.from_bytes(data[12:14], "big") + 4
    found: list[tuple[int, int]] = []
    while True:
        end, crc = struct.unpack_from(">II", data, position)
        if not end:
            return found
        words = struct.pack(">III", segment_id & 0xFFFFFFFF, segment_id >> 32, position)
        assert crc == zlib.crc32(words)
        found.append((position, end))
        position = end


@pytest.mark.parametrize("name", names())
def test_clean_segments_are_clean(name: str, tmp_path: Path, run: Run) -> None:
    folder = unpack(name, tmp_path / "segments")
    keys: list[object] = []
    if (folder / "keystore.jceks").exists():
        (tmp_path / "password").write_text(PASSWORD)
        keys = ["--keystore", folder / "keystore.jceks", "--keystore-password-file", tmp_path / "password"]
    code, found = _verified(run, *keys, folder)
    assert (code, found["ok"]) == (0, True)
    assert [each["path"] for each in found["segments"]] == sorted(map(str, folder.glob("*.log")))
    assert sum(each["mutations"] for each in found["segments"]) > 100


def test_for_people(sample: Path, run: Run) -> None:
    result = run("verify", sample)
    assert result.exit_code == 0
    assert f"{sample / FIRST}: ok, 1417 mutations in 130 sections up to 1030406" in result.stdout


def test_a_flipped_bit_in_an_entry(sample: Path, run: Run) -> None:
    _change(sample / FIRST, 300_000)
    code, found = _verified(run, sample)
    assert code == 1
    first, *others = found["segments"]
    assert all(each["ok"] for each in others)
    (problem,) = first["problems"]
    assert problem["position"] <= 300_000 < problem["end"]
    assert problem["expected"].startswith("the mutation's CRC to be ")
    assert len(problem["found"]) == 8
    assert first["mutations"] == 1416


def test_a_flipped_bit_in_a_marker(sample: Path, run: Run) -> None:
    position, _ = _markers((sample / FIRST).read_bytes(), 1795461419810)[40]
    _change(sample / FIRST, position + 5)
    code, found = _verified(run, sample / FIRST)
    (problem,) = found["segments"][0]["problems"]
    assert code == 1
    assert problem["position"] == problem["file_position"] == position
    assert problem["expected"].startswith("the sync marker's CRC")
    assert found["segments"][0]["mutations"] == 1417, "what a bad marker hides has its own checksums"


def test_a_flipped_bit_in_the_header(sample: Path, run: Run) -> None:
    _change(sample / FIRST, 8)
    code, found = _verified(run, sample / FIRST)
    (problem,) = found["segments"][0]["problems"]
    assert code == 1
    assert problem["expected"].startswith("the header's CRC")
    assert found["segments"][0]["mutations"] == 1417, "the file's name says as much as the header"


@pytest.mark.parametrize("name", [SAMPLE, *(name for name in names() if "v8" in name)])
def test_a_lost_header_costs_nothing_but_an_encrypted_segments_vector(
    name: str, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDC_DAEMON_KEYSTORE_PASSWORD", PASSWORD)
    folder = unpack(name, tmp_path / "segments")
    encrypted = name.endswith("-encrypted")
    options = ["--keystore", folder / "keystore.jceks"] if encrypted else []
    _, whole = _verified(run, *options, folder)
    for segment in folder.glob("*.log"):
        data = bytearray(segment.read_bytes())
        data[: 14 if encrypted else 20] = bytes(14 if encrypted else 20)
        segment.write_bytes(data)
    code, found = _verified(run, *options, folder)
    assert code == 1
    pairs = zip(whole["segments"], found["segments"], strict=True)
    for before, after in ((before, after) for before, after in pairs if before["sections"]):
        assert after["problems"][0]["expected"].endswith("header")
        for what in ("version", "id", "compression", "encrypted", "sections", "mutations", "end"):
            assert after[what] == before[what]


def test_several_damages_are_all_told(sample: Path, run: Run) -> None:
    for at in (100_000, 500_000, 900_000):
        _change(sample / FIRST, at)
    result = run("verify", sample / FIRST)
    assert result.exit_code == 1
    assert "3 problems" in result.stdout
    assert result.stdout.count("expected the mutation's CRC") == 3


@pytest.mark.parametrize("with_index", [True, False])
@pytest.mark.parametrize("size", [400_000, 30_000, 518_000])
def test_a_truncated_copy(size: int, with_index: bool, sample: Path, run: Run) -> None:
    segment = sample / SECOND
    segment.write_bytes(segment.read_bytes()[:size])
    if not with_index:
        (sample / SECOND.replace(".log", "_cdc.idx")).unlink()
    code, found = _verified(run, segment)
    assert code == 1
    first = found["segments"][0]
    problem = first["problems"][0]
    assert "bytes less" in problem["message"]
    assert problem["position"] <= size
    assert problem["position"] < first["end"] <= size, "whole entries before the cut are read"


def test_a_copy_truncated_between_two_sections_is_told_by_its_index(sample: Path, run: Run) -> None:
    segment = sample / SECOND
    data = segment.read_bytes()
    _, end = _markers(data, 1795461419811)[5]
    segment.write_bytes(data[:end])
    code, found = _verified(run, segment)
    assert code == 1
    assert found["segments"][0]["problems"][0]["expected"] == "sync markers up to 518234"


def test_a_zeroed_page_in_the_midst(sample: Path, run: Run) -> None:
    data = bytearray((sample / FIRST).read_bytes())
    data[409_600:413_696] = bytes(4096)
    (sample / FIRST).write_bytes(data)
    code, found = _verified(run, sample / FIRST)
    assert code == 1
    assert found["segments"][0]["mutations"] < 1417
    assert found["segments"][0]["end"] == 1_030_406, "what comes after it is checked too"


@pytest.mark.parametrize("content", [b"", bytes(4096), bytes(10)])
def test_a_file_without_a_header(content: bytes, sample: Path, run: Run) -> None:
    (sample / FIRST).write_bytes(content)
    code, found = _verified(run, sample / FIRST)
    assert code == 1
    assert found["segments"][0]["problems"][0]["expected"] == "a header"


def test_a_segment_under_anothers_name(sample: Path, run: Run) -> None:
    (sample / SECOND).write_bytes((sample / FIRST).read_bytes())
    code, found = _verified(run, sample / SECOND)
    assert code == 1
    assert "found 1795461419810 in its header" in found["segments"][0]["problems"][0]["message"]


def test_a_copy_under_a_name_that_is_no_segments(sample: Path, run: Run) -> None:
    copy = sample / "copy"
    copy.write_bytes((sample / FIRST).read_bytes())
    code, found = _verified(run, copy)
    assert code == 0
    assert found["segments"][0]["id"] == 1795461419810


def test_an_index_file_that_no_cassandra_wrote(sample: Path, run: Run) -> None:
    (sample / SECOND.replace(".log", "_cdc.idx")).write_text("nonsense")
    assert _verified(run, sample / SECOND)[0] == 1


@pytest.mark.parametrize("content", ["", "518234", "518234\n", "518234\nCOMP", "518234\nCOMPLETED"])
def test_an_index_file_that_is_being_written(content: str, sample: Path, run: Run) -> None:
    (sample / SECOND.replace(".log", "_cdc.idx")).write_text(content)
    assert _verified(run, sample / SECOND)[0] == 0


def test_after_a_crash_the_index_holds_the_files_length(sample: Path, run: Run) -> None:
    (sample / SECOND.replace(".log", "_cdc.idx")).write_text("1048576\nCOMPLETED")
    assert _verified(run, sample / SECOND)[0] == 0


def test_a_version_that_is_not_known(sample: Path, run: Run) -> None:
    _change(sample / FIRST, 3, flip=9)
    (sample / FIRST).rename(sample / FIRST.replace("-7-", "-14-"))
    code, found = _verified(run, sample)
    (first,) = (each for each in found["segments"] if "-14-" in each["path"])
    others = [each for each in found["segments"] if each is not first]
    assert code == 1
    assert first["error"]["found"] == "14"
    assert all(each["ok"] for each in others)


@pytest.mark.parametrize("name", ENCRYPTED)
def test_no_key_and_a_wrong_password(name: str, tmp_path: Path, run: Run) -> None:
    folder = unpack(name, tmp_path / "segments")
    code, found = _verified(run, folder)
    assert code == 1
    assert all("encrypted" in each["error"]["message"] for each in found["segments"])
    password = tmp_path / "password"
    password.write_text("wrong")
    wrong = run("verify", "--keystore", folder / "keystore.jceks", "--keystore-password-file", password, folder)
    assert "password is wrong" in str(wrong.exception)
    assert wrong.stdout == ""


@pytest.mark.parametrize("name", ENCRYPTED)
def test_the_password_may_be_in_the_environment(
    name: str, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = unpack(name, tmp_path / "segments")
    monkeypatch.setenv("CDC_DAEMON_KEYSTORE_PASSWORD", PASSWORD)
    assert run("verify", "--keystore", folder / "keystore.jceks", folder).exit_code == 0


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_flipped_bit_of_what_is_written_is_told(data: st.DataObject, tmp_path: Path) -> None:
    folder = tmp_path / "flipped"
    if not folder.exists():
        unpack(SAMPLE, folder)
        (folder / "clean").write_bytes((folder / SECOND).read_bytes())
    clean = (folder / "clean").read_bytes()
    parsed = parse_segment_name(SECOND)
    assert parsed is not None
    at = data.draw(st.integers(0, 518_233), label="at")
    flip = 1 << data.draw(st.integers(0, 7), label="bit")
    changed = bytearray(clean)
    changed[at] ^= flip
    (folder / SECOND).write_bytes(changed)
    assert not verify(folder / SECOND, keyring=None, progress=ProgressLine(_Nowhere())).ok  # type: ignore[arg-type]
