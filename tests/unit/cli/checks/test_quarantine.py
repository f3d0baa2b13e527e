"""How the check, the status and the metrics report the copies of damaged segments."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc_daemon.app.parts.log import LogPart
from cdc_daemon.cli.checks import folders
from cdc_daemon.cli.checks.folders import check_folders
from cdc_daemon.config import CommitLogSettings, MappingSettings, Settings, StateSettings
from cdc_daemon.model.signal import TableName
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.gate import Gate
from cdc_daemon.sources.log.quarantine import Quarantine
from cdc_daemon.sources.log.tail import DisabledTail
from cdc_daemon.telemetry.metrics import Metrics


@pytest.fixture
def quarantine(tmp_path: Path) -> Quarantine:
    return Quarantine(tmp_path / "state")


def _keep(quarantine: Quarantine, source: Path, count: int) -> None:
    for number in range(count):
        segment = source / f"CommitLog-7-{number + 1}.log"
        segment.write_bytes(b"damaged")
        quarantine.keep(segment)


def test_the_copies_are_listed_and_nothing_else(quarantine: Quarantine, tmp_path: Path) -> None:
    assert quarantine.segments() == []
    _keep(quarantine, tmp_path, 2)
    (quarantine.directory / "CommitLog-7-3.part").touch()
    (quarantine.directory / "notes.txt").touch()
    assert [path.name for path in quarantine.segments()] == ["CommitLog-7-1.log", "CommitLog-7-2.log"]


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, None), (1, "1 damaged segment is kept"), (7, "7 damaged segments are kept")],
)
def test_check_shows_them(
    count: int, said: str | None, quarantine: Quarantine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "filesystem", lambda _path: "ext4")
    raw = tmp_path / "cdc_raw"
    raw.mkdir()
    quarantine.directory.mkdir(parents=True)
    _keep(quarantine, tmp_path, count)
    settings = Settings(
        commit_log=CommitLogSettings(cdc_raw_directory=raw),
        state=StateSettings(directory=tmp_path / "state"),
        mappings={"user": MappingSettings(table=TableName("k", "t"), alias="a")},
    )
    found = [finding for finding in check_folders(settings, None) if finding.name == "state.quarantine"]
    if said is None:
        assert found == []
        return
    (finding,) = found
    assert finding.status == "warn"
    assert said in finding.found
    assert "CommitLog-7-1.log" in finding.found
    assert ("and 2 more" in finding.found) == (count == 7)
    assert f"segments verify {quarantine.directory}" in str(finding.mend)
    assert finding.mend == quarantine.advice


def test_the_gauge_counts_them(quarantine: Quarantine, tmp_path: Path) -> None:
    metrics = Metrics()
    part = LogPart(metrics, DisabledTail(), Gate(Coalescer()), quarantine)
    part.measure()
    assert metrics.registry.get_sample_value("cdc_daemon_quarantined_segments") == 0
    _keep(quarantine, tmp_path, 3)
    part.measure()
    assert metrics.registry.get_sample_value("cdc_daemon_quarantined_segments") == 3
