from __future__ import annotations

import os
from pathlib import Path

import pytest

from cdc_daemon.cassandra.node import NodeSettings
from cdc_daemon.cli.checks.commitlog_folder import check_commitlog
from cdc_daemon.cli.checks.finding import Finding
from cdc_daemon.config.loading import parse
from cdc_daemon.model.errors import ConfigError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "commitlog"
    path.mkdir()
    (path / "CommitLog-6-1795461419810.log").touch()
    return path


def check(folder: Path, node: dict[str, str | None] | None = None) -> dict[str, Finding]:
    raw = folder.parent / "cdc_raw"
    raw.mkdir(exist_ok=True)
    found = check_commitlog(folder, raw, None if node is None else NodeSettings(node))
    return {finding.name: finding for finding in found}


def statuses(found: dict[str, Finding]) -> dict[str, str]:
    return {name: finding.status for name, finding in found.items()}


def test_a_folder_as_it_should_be(folder: Path) -> None:
    assert statuses(check(folder)) == {"commitlog.access": "ok", "commitlog.node": "ok"}


def test_a_folder_that_is_missing_or_a_file(folder: Path) -> None:
    assert statuses(check(folder / "none")) == {"commitlog.access": "fail"}
    found = check(folder / "CommitLog-6-1795461419810.log")["commitlog.access"]
    assert found.status == "fail"
    assert "not a directory" in found.found


def test_the_folder_is_cdc_raw(folder: Path) -> None:
    raw = folder.parent / "cdc_raw"
    raw.symlink_to(folder)
    [finding] = check_commitlog(raw, folder, None)
    assert finding.status == "fail"
    text = "commit_log: {cdc_raw_directory: /a, commitlog_directory: /a}\nmappings: {t: {table: k.t, alias: a}}\n"
    with pytest.raises(ConfigError, match="another directory than cdc_raw_directory"):
        parse(text, file=folder / "config.yaml", environment={})


@pytest.mark.parametrize("what", ["folder", "segment"])
def test_what_cannot_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    denied = folder if what == "folder" else next(folder.iterdir())
    monkeypatch.setattr(os, "access", lambda path, _mode: path != denied)
    finding = check(folder)["commitlog.access"]
    assert finding.status == "fail"
    assert "run the daemon as" in str(finding.mend)


def test_a_folder_that_no_node_writes_to(folder: Path) -> None:
    [segment] = folder.iterdir()
    os.utime(segment, (1, 1))
    assert statuses(check(folder))["commitlog.node"] == "warn"
    segment.unlink()
    assert statuses(check(folder))["commitlog.node"] == "warn"


def test_the_folder_of_a_later_release_is_not_needed(folder: Path, tmp_path: Path) -> None:
    found = check(folder, {"commitlog_directory": str(folder)})["commitlog.node"]
    assert (found.status, "only Cassandra 3.11 needs" in found.found) == ("ok", True)
    assert statuses(check(folder, {"commitlog_directory": str(tmp_path)}))["commitlog.node"] == "warn"
    [segment] = folder.iterdir()
    segment.rename(folder / "CommitLog-7-1795461419810.log")
    assert statuses(check(folder))["commitlog.node"] == "ok"
