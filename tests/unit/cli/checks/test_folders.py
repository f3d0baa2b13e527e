from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from cdc_daemon.cassandra.node import NodeSettings
from cdc_daemon.cli.checks import folders
from cdc_daemon.cli.checks.finding import Finding
from cdc_daemon.cli.checks.folders import check_folders, filesystem
from cdc_daemon.config import CommitLogSettings, MappingSettings, Settings, StateSettings
from cdc_daemon.config.poll import PollSettings
from cdc_daemon.model.signal import TableName
from cdc_daemon.store import Store
from cdc_daemon.store.reconcile_requests import ReconcileReason, ReconcileRequest
from cdc_daemon.store.store import FILE_NAME


@pytest.fixture(autouse=True)
def _on_a_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "filesystem", lambda _path: "ext4")


def _check(
    raw: Path,
    state: Path,
    release: bool = True,
    node: dict[str, str | None] | None = None,
    total_space: int | None = None,
) -> dict[str, Finding]:
    settings = Settings(
        commit_log=CommitLogSettings(cdc_raw_directory=raw, release=release, cdc_total_space=total_space),
        state=StateSettings(directory=state),
        mappings={"user": MappingSettings(table=TableName("k", "t"), alias="a")},
    )
    found = check_folders(settings, None if node is None else NodeSettings(node))
    return {finding.name: finding for finding in found}


def _statuses(findings: dict[str, Finding]) -> dict[str, str]:
    return {name: finding.status for name, finding in findings.items()}


def test_folders_as_they_should_be(raw: Path, state: Path) -> None:
    findings = _check(raw, state, node={"cdc_raw_directory": str(raw), "cdc_total_space": "64MiB"})
    assert _statuses(findings) == {
        "cdc_raw.access": "ok",
        "cdc_raw.node": "ok",
        "cdc_raw.space": "ok",
        "state.directory": "ok",
    }


def test_nothing_is_created(raw: Path, tmp_path: Path) -> None:
    _check(raw, tmp_path / "deep/state", node={"cdc_raw_directory": str(raw), "cdc_total_space": "64MiB"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cdc_raw"]
    assert not list(raw.iterdir())


def test_no_segments_folder(tmp_path: Path, state: Path) -> None:
    finding = _check(tmp_path / "absent", state)["cdc_raw.access"]
    assert finding.status == "fail"
    assert "does not exist" in finding.found
    (tmp_path / "file").touch()
    assert "is not a directory" in _check(tmp_path / "file", state)["cdc_raw.access"].found


def _deny(monkeypatch: pytest.MonkeyPatch, denied: Path, right: int) -> None:
    """Take a right on one path away; as root no file mode does."""
    real = os.access

    def access(path: Any, mode: int, **options: Any) -> bool:
        return not (Path(path) == denied and mode & right) and real(path, mode, **options)

    monkeypatch.setattr(os, "access", access)


def test_a_folder_that_cannot_be_read(raw: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _deny(monkeypatch, raw, os.R_OK)
    finding = _check(raw, state)["cdc_raw.access"]
    assert finding.status == "fail"
    assert "run the daemon as" in str(finding.mend)


def test_a_segment_that_cannot_be_read(raw: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segment = raw / "CommitLog-7-1.log"
    segment.touch()
    _deny(monkeypatch, segment, os.R_OK)
    assert "CommitLog-7-1.log" in _check(raw, state)["cdc_raw.access"].found


def test_segments_that_cannot_be_deleted(raw: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _deny(monkeypatch, raw, os.W_OK)
    assert "cannot be deleted" in _check(raw, state)["cdc_raw.access"].found
    assert _check(raw, state, release=False)["cdc_raw.access"].status == "ok"


def test_a_sticky_folder_of_another_user(raw: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw.chmod(0o1777)
    (raw / "CommitLog-7-1.log").touch()
    monkeypatch.setattr(os, "geteuid", lambda: raw.stat().st_uid + 1)
    findings = _check(raw, state)
    assert "cannot be deleted" in findings["cdc_raw.access"].found
    assert findings["cdc_raw.owner"].status == "warn"


def test_another_user_who_may_do_everything_is_only_warned(
    raw: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (raw / "CommitLog-7-1.log").touch()
    monkeypatch.setattr(os, "geteuid", lambda: raw.stat().st_uid + 54321)
    findings = _check(raw, state)
    assert findings["cdc_raw.access"].status == "ok"
    assert f"uid {raw.stat().st_uid + 54321}" in findings["cdc_raw.owner"].found


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("segments", [0, 2])
def test_a_folder_of_root_is_judged_by_its_segments(
    raw: Path, state: Path, monkeypatch: pytest.MonkeyPatch, segments: int
) -> None:
    """As Kubernetes makes a volume's `subPath`: root's, writable for the group. Nobody has to run as root."""
    raw.chmod(0o2775)
    for number in range(segments):
        segment = raw / f"CommitLog-7-{number}.log"
        segment.touch()
        os.chown(segment, 999, 999)
    monkeypatch.setattr(os, "geteuid", lambda: 999)
    findings = _check(raw, state)
    assert findings["cdc_raw.access"].status == "ok"
    assert "cdc_raw.owner" not in findings
    monkeypatch.setattr(os, "access", lambda _path, mode: not mode & os.W_OK)
    finding = _check(raw, state)["cdc_raw.access"]
    assert finding.status == "fail"
    assert "root" not in str(finding.mend)
    assert ("999" in str(finding.mend)) is bool(segments)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_own_segments_in_a_sticky_folder(raw: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw.chmod(0o1777)
    (raw / "CommitLog-7-1.log").touch()
    os.chown(raw / "CommitLog-7-1.log", 999, 999)
    monkeypatch.setattr(os, "geteuid", lambda: 999)
    assert _check(raw, state)["cdc_raw.access"].status == "ok"


def test_the_node_writes_elsewhere(raw: Path, state: Path, tmp_path: Path) -> None:
    finding = _check(raw, state, node={"cdc_raw_directory": str(tmp_path / "other")})["cdc_raw.node"]
    assert finding.status == "warn"
    assert str(tmp_path / "other") in finding.found


def test_one_folder_by_two_names(raw: Path, state: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(raw)
    assert _check(tmp_path / "link", state, node={"cdc_raw_directory": str(raw)})["cdc_raw.node"].status == "ok"


@pytest.mark.parametrize(("used", "status"), [(100, "ok"), (600, "warn"), (950, "fail"), (1100, "fail")])
def test_how_full_the_folder_is(raw: Path, state: Path, used: int, status: str) -> None:
    with (raw / "CommitLog-7-1.log").open("wb") as file:
        file.truncate(used * 1024)
    finding = _check(raw, state, node={"cdc_total_space": "1000KiB"})["cdc_raw.space"]
    assert finding.status == status


@pytest.mark.parametrize("node", [None, {}, {"cdc_raw_directory": "elsewhere"}])
def test_the_configured_limit_counts_where_the_node_tells_none(
    raw: Path, state: Path, node: dict[str, str | None] | None
) -> None:
    with (raw / "CommitLog-7-1.log").open("wb") as file:
        file.truncate(950 * 1024)
    assert "cdc_raw.space" not in _check(raw, state, node=node)
    finding = _check(raw, state, node=node, total_space=1000 * 1024)["cdc_raw.space"]
    assert finding.status == "fail"


def test_the_nodes_own_limit_counts_before_the_configured_one(raw: Path, state: Path) -> None:
    with (raw / "CommitLog-7-1.log").open("wb") as file:
        file.truncate(950 * 1024)
    findings = _check(raw, state, node={"cdc_total_space": "1000KiB"}, total_space=1 << 30)
    assert findings["cdc_raw.space"].status == "fail"
    assert findings["cdc_raw.total_space"].status == "warn"
    assert "cdc_raw.total_space" not in _check(raw, state, node={"cdc_total_space": "1GiB"}, total_space=1 << 30)


def test_a_state_directory_that_will_be_created(raw: Path, tmp_path: Path) -> None:
    finding = _check(raw, tmp_path / "deep/state")["state.directory"]
    assert finding.status == "ok"
    assert "created" in finding.found


@pytest.mark.parametrize(
    ("kind", "status"),
    [("ext4", "ok"), ("xfs", "ok"), ("nfs4", "fail"), ("tmpfs", "warn"), ("overlay", "warn"), ("", "ok")],
)
def test_where_the_state_is_kept(
    raw: Path, state: Path, monkeypatch: pytest.MonkeyPatch, kind: str, status: str
) -> None:
    monkeypatch.setattr(folders, "filesystem", lambda _path: kind)
    assert _check(raw, state)["state.directory"].status == status


def test_a_state_directory_that_cannot_be_written(raw: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _deny(monkeypatch, state, os.W_OK)
    assert "is not writable" in _check(raw, state)["state.directory"].found


def test_a_state_directory_that_is_a_file(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert _check(raw, tmp_path / "file")["state.directory"].status == "fail"
    assert _check(raw, tmp_path / "file/below")["state.directory"].status == "fail"


def test_a_state_directory_among_the_segments(raw: Path) -> None:
    assert "inside cdc_raw" in _check(raw, raw / "state")["state.directory"].found


def test_a_full_disk(raw: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "_STATE_BYTES", 1 << 62)
    assert _check(raw, state)["state.space"].status == "warn"


class TestFilesystem:
    def test_by_device(self, tmp_path: Path) -> None:
        device = tmp_path.stat().st_dev
        mounts = tmp_path / "mountinfo"
        mounts.write_text(
            "21 20 0:19 / /proc rw - proc proc rw\n"
            f"30 20 {os.major(device)}:{os.minor(device)} / {tmp_path} rw,relatime shared:1 - nfs4 server:/ rw\n"
        )
        assert filesystem(tmp_path, mounts=mounts) == "nfs4"

    @pytest.mark.parametrize("content", ["", "broken\n", "1 2 3\n", "1 2 0:0 / / rw -\n"])
    def test_unknown(self, tmp_path: Path, content: str) -> None:
        mounts = tmp_path / "mountinfo"
        mounts.write_text(content)
        assert filesystem(tmp_path, mounts=mounts) == ""

    def test_no_such_table_of_mounts(self, tmp_path: Path) -> None:
        assert filesystem(tmp_path, mounts=tmp_path / "absent") == ""


def test_what_was_not_compared_yet_is_shown(raw: Path, state: Path) -> None:
    store = Store(state)
    assert "state.reconcile" not in _check(raw, state)
    store.reconcile_requests.add(
        [
            ReconcileRequest(reason=ReconcileReason.DAMAGE, segment_id=number, from_position=1, to_position=2)
            for number in range(7)
        ]
    )
    finding = _check(raw, state)["state.reconcile"]
    assert finding.status == "warn"
    assert "7 reconcile requests are open" in finding.found
    assert "damage from 0:1 up to 0:2" in finding.found
    assert "and 2 more" in finding.found
    store.reconcile_requests.close([number + 1 for number in range(7)])
    store.reconcile_requests.add(
        [ReconcileRequest(reason=ReconcileReason.ALTERED, segment_id=0, keyspace="k", table="t", since=5)]
    )
    assert "commit log: altered of k.t" in _check(raw, state)["state.reconcile"].found
    store.reconcile_requests.close([8])
    store.reconcile_requests.add(
        [
            ReconcileRequest(
                reason=ReconcileReason.GAP, segment_id=1, from_position=0, to_segment_id=3, detail={"certain": False}
            )
        ]
    )
    assert "possible gap from 1:0 up to segment 3" in _check(raw, state)["state.reconcile"].found
    store.reconcile_requests.close([9])
    assert "state.reconcile" not in _check(raw, state)
    store.close()


def test_a_store_that_cannot_be_read_is_shown(raw: Path, state: Path) -> None:
    (state / FILE_NAME).write_bytes(b"not a database at all" * 100)
    assert "cannot be read" in _check(raw, state)["state.reconcile"].found


PASSWORD = "secret12"
KEYSTORE = Path(__file__).parents[3] / "data" / "commitlog" / "keystore" / "keys.jceks"


@pytest.mark.parametrize(("password", "status"), [("right", "ok"), ("wrong", "fail"), (None, "fail")])
def test_the_keystore_is_opened(raw: Path, state: Path, password: str | None, status: str) -> None:
    settings = Settings(
        commit_log=CommitLogSettings(
            cdc_raw_directory=raw,
            keystore=KEYSTORE if password is not None else raw / "absent",
            keystore_password=SecretStr(PASSWORD if password == "right" else "wrong"),
        ),
        state=StateSettings(directory=state),
        mappings={"user": MappingSettings(table=TableName("k", "t"), alias="a")},
    )
    (finding,) = [each for each in check_folders(settings, None) if each.name == "commit_log.keystore"]
    assert finding.status == status
    assert PASSWORD not in finding.found


def test_a_daemon_that_only_polls_has_its_state_checked(raw: Path, state: Path) -> None:
    settings = Settings(
        tail=False,
        state=StateSettings(directory=raw / "file"),
        poll=(PollSettings(table=TableName("k", "t"), strategy="scan"),),
        mappings={"user": MappingSettings(table=TableName("k", "t"), alias="a")},
    )
    (raw / "file").touch()
    statuses = _statuses({each.name: each for each in check_folders(settings, None)})
    assert statuses["state.directory"] == "fail"
    assert "cdc_raw.access" not in statuses
