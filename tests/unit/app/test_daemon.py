"""`/status` names the loops that `/livez` counts as stuck."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from cdc_daemon.app.daemon import LATE_SECONDS, Daemon
from cdc_daemon.config import CommitLogSettings, MappingSettings, Settings, StateSettings
from cdc_daemon.model.signal import TableName


def test_a_loop_that_has_not_come_round_for_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = Daemon(
        Settings(
            commit_log=CommitLogSettings(cdc_raw_directory=tmp_path),
            state=StateSettings(directory=tmp_path / "state"),
            mappings={"user": MappingSettings(table=TableName("k", "t"), alias="a")},
        )
    )
    now = time.time()
    monkeypatch.setattr(daemon, "_beats", {"loop": now, "tail": now - LATE_SECONDS - 1})
    assert daemon.status()["stuck_loops"] == ["tail"]
