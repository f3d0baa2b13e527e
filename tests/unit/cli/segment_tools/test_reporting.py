"""The progress line."""

from __future__ import annotations

import io

import pytest

from cdc_daemon.cli.segment_tools import reporting
from cdc_daemon.cli.segment_tools.reporting import ProgressLine


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class TestProgress:
    @pytest.fixture(autouse=True)
    def _impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reporting, "_PATIENCE", 0)
        monkeypatch.setattr(reporting, "_INTERVAL", 0)

    def test_on_a_terminal(self) -> None:
        terminal = _Terminal()
        line = ProgressLine(terminal)
        line.step("CommitLog-7-1.log", 1 << 20, 4 << 20)
        assert "CommitLog-7-1.log  25 % of 4.0 MiB" in terminal.getvalue()
        line.clear()
        assert terminal.getvalue().endswith("\r\x1b[2K")

    def test_never_more_than_all(self) -> None:
        terminal = _Terminal()
        ProgressLine(terminal).step("compressed", 9, 3)
        assert "100 %" in terminal.getvalue()

    def test_elsewhere_there_is_none(self) -> None:
        stream = io.StringIO()
        line = ProgressLine(stream)
        line.step("x", 1, 2)
        line.clear()
        assert stream.getvalue() == ""
