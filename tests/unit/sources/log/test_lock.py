from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cdc_daemon.model.errors import LockedError, StoreError
from cdc_daemon.sources.log.lock import LOCK_FILE, DaemonLock

HOLD = """
import sys
from pathlib import Path
from cdc_daemon.sources.log.lock import DaemonLock
with DaemonLock(state=Path(sys.argv[1]), folder=Path(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    folder = tmp_path / "cdc_raw"
    folder.mkdir()
    return tmp_path / "state", folder


def test_the_error_of_a_second_daemon_names_the_holder_of_the_state(places: tuple[Path, Path], tmp_path: Path) -> None:
    state, folder = places
    other = tmp_path / "other"
    other.mkdir()
    with DaemonLock(state=state, folder=folder), pytest.raises(LockedError) as caught:
        DaemonLock(state=state, folder=other).__enter__()
    assert f"process {os.getpid()}" in caught.value.message
    assert caught.value.hint is not None


def test_a_second_daemon_with_a_state_of_its_own_is_kept_off_the_folder(
    places: tuple[Path, Path], tmp_path: Path
) -> None:
    state, folder = places
    with DaemonLock(state=state, folder=folder), pytest.raises(LockedError) as caught:
        DaemonLock(state=tmp_path / "other", folder=folder).__enter__()
    assert f"process {os.getpid()}" in caught.value.message
    assert caught.value.where == {"folder": str(folder)}


def test_nothing_is_left_in_the_folder(places: tuple[Path, Path]) -> None:
    state, folder = places
    with DaemonLock(state=state, folder=folder):
        assert list(folder.iterdir()) == []
    assert (state / LOCK_FILE).read_text() == f"{os.getpid()}\n"


def test_a_released_lock_can_be_taken_again(places: tuple[Path, Path]) -> None:
    state, folder = places
    for _ in range(3):
        with DaemonLock(state=state, folder=folder), pytest.raises(LockedError):
            DaemonLock(state=state, folder=folder).__enter__()


def test_a_refused_lock_holds_nothing(places: tuple[Path, Path], tmp_path: Path) -> None:
    state, folder = places
    other = tmp_path / "other"
    with DaemonLock(state=state, folder=folder), pytest.raises(LockedError):
        DaemonLock(state=other, folder=folder).__enter__()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with DaemonLock(state=other, folder=elsewhere):
        pass


def test_the_lock_of_another_process_goes_when_it_is_killed(places: tuple[Path, Path]) -> None:
    state, folder = places
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(state), str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(LockedError, match=f"process {holder.pid}"):
            DaemonLock(state=state, folder=folder).__enter__()
        holder.kill()
        holder.wait()
    with DaemonLock(state=state, folder=folder):
        pass


def test_a_folder_that_is_not_there_is_said_with_its_mend(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        DaemonLock(state=tmp_path / "state", folder=tmp_path / "nowhere").__enter__()
    assert "cdc_enabled: true" in str(caught.value)


def test_a_state_directory_that_cannot_be_made_is_said_with_its_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError) as caught:
        DaemonLock(state=tmp_path / "file" / "state", folder=tmp_path).__enter__()
    assert caught.value.hint is not None


def test_a_folder_on_a_file_system_without_locks_is_used_all_the_same(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    state, folder = places
    real = fcntl.flock

    def flock(descriptor: int, operation: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").is_dir():
            raise OSError(95, "Operation not supported")
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    with DaemonLock(state=state, folder=folder):
        assert (state / LOCK_FILE).exists()
