"""The sample segments as files, and the command line on them."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cdc_daemon.cli.main import app
from tests.unit.commitlog.samples import DATA, names

SAMPLE = "cassandra-5.0"
FIRST = "CommitLog-7-1795461419810.log"
SECOND = "CommitLog-7-1795461419811.log"

ENCRYPTED = [name for name in names() if name.endswith("-encrypted")][:1]
"""A sample that needs a key, to be a parameter of tests."""

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def _nothing_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run where no configuration is found."""
    monkeypatch.delenv("CDC_DAEMON_CONFIG", raising=False)
    monkeypatch.setattr("cdc_daemon.cli.common.CONFIG_PLACES", (tmp_path / "none.yaml",))


def unpack(name: str, folder: Path) -> Path:
    """Put the files of a sample into a folder as Cassandra has them; the schema as `schema.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    for packed in sorted((DATA / name).iterdir()):
        data = packed.read_bytes()
        if packed.suffix == ".gz" and packed.name != "expected.jsonl.gz":
            (folder / packed.stem).write_bytes(gzip.decompress(data))
        else:
            (folder / packed.name).write_bytes(data)
    return folder


def expected_lines(name: str) -> list[bytes]:
    return gzip.decompress((DATA / name / "expected.jsonl.gz").read_bytes()).splitlines()


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    return unpack(SAMPLE, tmp_path / "sample")


@pytest.fixture
def run() -> Run:
    """Run `cdc-daemon segments` in this process; errors of ours are its `exception`."""
    runner = CliRunner()

    def invoke(*arguments: object, standard_input: str | None = None) -> Result:
        return runner.invoke(app, ["segments", *map(str, arguments)], input=standard_input)

    return invoke
