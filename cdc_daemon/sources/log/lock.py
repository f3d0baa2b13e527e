"""One daemon for each state directory and each `cdc_raw` folder."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from cdc_daemon.model.errors import LockedError, StoreError

log = structlog.get_logger(__name__)

LOCK_FILE = "daemon.lock"


class DaemonLock:
    """An exclusive `flock` on a file in the state directory and on the `cdc_raw` folder itself.

    Two daemons with one state directory would overwrite each other's checkpoint; two on one folder would delete
    segments that the other has not read. The kernel releases both locks when the process ends, however it ends. The
    folder is locked through a descriptor of the directory, so no file is created in the folder, which Cassandra counts
    as CDC space. Cassandra itself takes no such lock. The state directory is created if missing.

    Entering raises `LockedError`, with the holder's process if known, or `StoreError` if the state directory cannot be
    used. Without a `folder` only the state directory is locked.
    """

    def __init__(self, *, state: Path, folder: Path | None) -> None:
        self._state = state
        self._folder = folder
        self._held: list[int] = []

    def __enter__(self) -> Self:
        try:
            self._lock_state()
            if self._folder is not None:
                self._lock_folder(self._folder)
        except BaseException:
            self.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Release both locks; a second call does nothing."""
        while self._held:
            os.close(self._held.pop())

    def _lock_state(self) -> None:
        path = self._state / LOCK_FILE
        try:
            self._state.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StoreError(
                f"the lock file cannot be opened: {error.strerror}",
                hint="give the daemon's user write access, or set state.directory to another place",
                file=str(path),
            ) from error
        self._held.append(descriptor)
        if not _take(descriptor):
            raise LockedError(
                f"expected a state directory of its own, found it in use by {_holder(descriptor, path)}",
                hint="stop that process, or give this daemon another state.directory",
                directory=str(self._state),
            )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)

    def _lock_folder(self, folder: Path) -> None:
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise StoreError(
                f"the folder of CDC segments cannot be opened: {error.strerror}",
                hint="set cdc_enabled: true in cassandra.yaml and commit_log.cdc_raw_directory to its "
                "cdc_raw_directory, and let the daemon's user read and delete there",
                folder=str(folder),
            ) from error
        self._held.append(descriptor)
        try:
            taken = _take(descriptor)
        except OSError as error:
            # Some network file systems cannot lock a directory; the state's lock then has to suffice.
            log.warning("tail.folder_not_lockable", folder=str(folder), error=str(error))
            return
        if not taken:
            raise LockedError(
                f"expected to be the only consumer, found the folder in use by {_holder(descriptor, None)}",
                hint="run one cdc-daemon for each Cassandra node: stop that process first",
                folder=str(folder),
            )


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in {errno.EWOULDBLOCK, errno.EACCES}:
            return False
        raise
    return True


def _holder(descriptor: int, pid_file: Path | None) -> str:
    """Return a text that names the process with the lock on the file behind `descriptor`."""
    status = os.fstat(descriptor)
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    candidates: list[str] = []
    with suppress(OSError):
        for line in Path("/proc/locks").read_text(encoding="ascii", errors="replace").splitlines():
            words = line.split()
            # `1: FLOCK  ADVISORY  WRITE 4711 fe:00:131 0 EOF`; a waiting one has `->` in second place.
            if len(words) >= 6 and words[1] == "FLOCK" and words[5] == place:
                candidates.append(words[4])
    if pid_file is not None:
        with suppress(OSError):
            candidates.append(pid_file.read_text(encoding="ascii", errors="replace").strip())
    for pid in candidates:
        # A holder in another container shows as 0 or -1.
        if pid.isdigit() and int(pid) > 0:
            return f"process {pid}"
    return "another process, perhaps in another container"
