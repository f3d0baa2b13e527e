"""`/status` names the loops that `/livez` counts as stuck; the error that ends the daemon is named and logged."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import structlog

from cdc_daemon.app.daemon import LATE_SECONDS, Daemon, _cause_of
from cdc_daemon.config import CommitLogSettings, MappingSettings, Settings, StateSettings
from cdc_daemon.model.errors import StoreError
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


def test_a_defect_is_named_itself_and_logged_with_its_traceback() -> None:
    defect = KeyError("missing")
    nested = ExceptionGroup("a task group", [ExceptionGroup("another", [defect])])
    with structlog.testing.capture_logs() as lines:
        assert _cause_of(nested) is defect
    (line,) = lines
    assert line["event"] == "daemon.failed"
    assert line["exc_info"] is nested


def test_of_several_errors_the_daemons_own_is_named() -> None:
    own = StoreError("the disk is full")
    nested = ExceptionGroup("a task group", [ValueError("x"), ExceptionGroup("another", [own])])
    with structlog.testing.capture_logs() as lines:
        assert _cause_of(nested) is own
    assert lines == []
