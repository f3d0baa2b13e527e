"""The real console entry, in processes of its own: pipes, signals, growing files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from typer.testing import CliRunner

from cdc_daemon.cli.main import app
from tests.segments import USERS, CommitLogWriter, MovedSegmentWriter, user
from tests.unit.cli.segment_tools.conftest import FIRST, SAMPLE, expected_lines, unpack

pytestmark = pytest.mark.slow

SCRIPT = Path(sys.executable).with_name("cdc-daemon")
PATIENCE = 60.0
"""Seconds after which a test gives up waiting; nothing depends on it."""


def _run(*arguments: object, standard_input: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [SCRIPT, "segments", *map(str, arguments)], input=standard_input, capture_output=True, timeout=120, check=False
    )


def test_raw_is_the_answer_sheet(sample: Path) -> None:
    result = _run("dump", "--raw", "--schema", sample / "schema.json", sample)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == expected_lines(SAMPLE)


def test_a_list_through_a_pipe(sample: Path) -> None:
    paths = "\n".join(str(path) for path in sorted(sample.glob("*.log")))
    result = _run("dump", "--raw", "--schema", sample / "schema.json", "-", standard_input=paths.encode())
    assert result.stdout.splitlines() == expected_lines(SAMPLE)


def test_head_ends_it_quietly(sample: Path) -> None:
    arguments: list[str | Path] = [SCRIPT, "segments", "dump", "--raw", "--schema", sample / "schema.json", sample]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(timeout=PATIENCE) == 0
    assert first.rstrip() == expected_lines(SAMPLE)[0]
    assert said == b""


def test_damage_is_exit_code_1_and_wrong_usage_2(sample: Path) -> None:
    assert _run("verify", sample).returncode == 0
    data = bytearray((sample / FIRST).read_bytes())
    data[300_000] ^= 1
    (sample / FIRST).write_bytes(data)
    assert _run("verify", sample).returncode == 1
    for wrong in (["verify"], ["verify", sample / "absent"], ["verfy", sample], ["dump", "--from", "x", sample]):
        result = _run(*wrong)
        assert result.returncode == 2
        assert b"Traceback" not in result.stderr


def test_verify_imports_no_driver(sample: Path) -> None:
    program = (
        "import sys\nfrom cdc_daemon.cli import main as cli\n"
        f"sys.argv = ['cdc-daemon', 'segments', 'verify', {str(sample)!r}]\n"
        "try:\n    cli.main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "print([name for name in ('cassandra.cluster', 'elasticsearch', 'aiohttp') if name in sys.modules])\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


class TestFollow:
    @pytest.fixture
    def snapshot(self, tmp_path: Path) -> Path:
        """The schema of `shop.users` as an export writes it."""
        kinds = {"id": ("partition_key", 0), "v": ("regular", -1)}
        columns = [
            {"keyspace_name": "shop", "table_name": "users", "column_name": name, "kind": kind, "position": position,
             "type": "text", "clustering_order": "none", "column_name_bytes": "0x" + name.encode().hex()}
            for name, (kind, position) in kinds.items()
        ]  # fmt: skip
        table = {"keyspace_name": "shop", "table_name": "users", "id": USERS.id.hex(), "flags": [], "cdc": True}
        file = tmp_path / "schema.json"
        file.write_text(json.dumps({"tables": [table], "columns": columns}))
        return file

    @pytest.fixture
    def node(self, tmp_path: Path) -> CommitLogWriter:
        return CommitLogWriter(tmp_path)

    def test_a_folder_whose_segments_grow_and_follow_each_other(self, node: CommitLogWriter, snapshot: Path) -> None:
        node.write(user("a"))
        node.current.sync()
        with _following(node.cdc_raw, snapshot) as (process, lines):
            assert _keys(lines, 1) == ["a"]
            node.write(user("b"))
            node.current.mark()
            assert _keys(lines, 1) == ["b"]
            old = node.current
            node.advance()
            node.write(user("c"))
            node.current.mark()
            assert _keys(lines, 1) == ["c"]
            old.discard()
            old.link.unlink()
            old.index.unlink()
            node.write(*(user(f"many{number}") for number in range(300)))
            node.current.sync()
            assert _keys(lines, 300) == [f"many{number}" for number in range(300)]
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=PATIENCE) == 0
        assert len(node.segments) > 3

    def test_a_segment_until_it_is_complete(self, node: CommitLogWriter, snapshot: Path) -> None:
        segment = node.current
        segment.add(user("a"))
        segment.mark()
        with _following(segment.link, snapshot) as (process, lines):
            assert _keys(lines, 1) == ["a"]
            segment.add(user("b"))
            segment.close()
            assert _keys(lines, 1) == ["b"]
            assert process.wait(timeout=PATIENCE) == 0

    def test_an_entry_that_is_half_written_is_waited_for(self, node: CommitLogWriter, snapshot: Path) -> None:
        segment = node.current
        segment.add(user("a"))
        segment.mark()
        marker = segment.marker
        segment.add(user("b"))
        segment.mark()
        good = segment.path.read_bytes()[marker : marker + 8]
        segment.write_at(marker + 4, b"\xff\xff\xff\xff")
        with _following(node.cdc_raw, snapshot) as (process, lines):
            assert _keys(lines, 1) == ["a"]
            segment.write_at(marker, good)
            assert _keys(lines, 1) == ["b"]
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=PATIENCE) == 0

    def test_a_segment_of_3_11_is_read_on_when_it_moves(self, tmp_path: Path, snapshot: Path) -> None:
        home = tmp_path / "3.11"
        home.mkdir()
        node = CommitLogWriter(home, make_segment=MovedSegmentWriter)
        segment = node.current
        segment.add(user("a"))
        segment.mark()
        with _following([node.storage, node.cdc_raw], snapshot) as (process, lines):
            assert _keys(lines, 1) == ["a"]
            node.advance(close=False)
            segment.add(user("b"))
            segment.discard()
            assert _keys(lines, 1) == ["b"]
            node.write(user("c"))
            node.current.mark()
            assert _keys(lines, 1) == ["c"]
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=PATIENCE) == 0

    def test_damage_that_is_durable_is_told_and_passed(self, node: CommitLogWriter, snapshot: Path) -> None:
        segment = node.current
        segment.add(user("a"))
        segment.add(user("b"))
        segment.sync()
        segment.write_at(segment.entry_ends[0] - 6, b"\xff")
        with _following(node.cdc_raw, snapshot) as (process, lines):
            assert _keys(lines, 1) == ["b"]
            process.send_signal(signal.SIGINT)
            assert process.stderr is not None
            assert process.wait(timeout=PATIENCE) == 1, process.stderr.read()
            assert b"mutation's CRC" in process.stderr.read()


@contextmanager
def _following(paths: Path | Sequence[Path], snapshot: Path) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    arguments: list[str | Path] = [SCRIPT, "segments", "dump", "--follow", "--schema", snapshot]
    arguments += [paths] if isinstance(paths, Path) else paths
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout
        finally:
            if process.poll() is None:
                process.kill()


def _keys(lines: IO[bytes], count: int) -> list[str]:
    return [json.loads(lines.readline())["partition_key"]["id"] for _ in range(count)]


def test_memory_stays_flat(sample: Path, tmp_path: Path) -> None:
    """A segment of 96 MiB whose one section is as large takes little more than a small one."""
    plain = CommitLogWriter(tmp_path, size=96 << 20)
    payload = user("x" * 60_000)
    while plain.current.add(payload):
        pass
    plain.current.sync()
    large = _peak([SCRIPT, "segments", "verify", plain.current.link])
    small = _peak([SCRIPT, "segments", "verify", sample])
    plain.current.path.unlink()
    plain.current.link.unlink()
    assert large < small + (48 << 20)


def _peak(arguments: list[str | Path]) -> int:
    """Run a command; return the most memory it had, in bytes."""
    process = subprocess.Popen(list(map(str, arguments)), stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss * 1024


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
