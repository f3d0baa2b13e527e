"""The folders of the sandboxes on this machine: one each, locked while its sandbox is alive."""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import shutil
from pathlib import Path
from typing import Any

from sandbox.cache import cache_directory, exclusive
from sandbox.errors import SandboxError

_STATE = "state.json"
_LOCK = "lock"
_UNNAMED = "unnamed-"


def sandboxes_directory() -> Path:
    """Return the folder that holds one folder a sandbox."""
    return cache_directory() / "sandboxes"


class SandboxFolder:
    """A sandbox's folder, held by this process until `close`.

    The lock file in it is locked (flock) as long as the process lives, which is how others tell a running
    sandbox from the remains of one.
    """

    def __init__(self, path: Path, *, temporary: bool) -> None:
        self.path = path
        self._temporary = temporary
        path.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise SandboxError(
                f"the sandbox {path.name} is running", hint=f"python -m sandbox down {path.name}", folder=path
            ) from None
        os.ftruncate(self._lock, 0)
        os.write(self._lock, f"{os.getpid()}\n".encode())

    def write(self, state: dict[str, Any]) -> None:
        """Record what runs, for `status` and `down`; readers see the old or the new text, never a part."""
        partial = self.path / f".{_STATE}"
        partial.write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
        partial.rename(self.path / _STATE)

    def close(self) -> None:
        """Release the folder; a temporary one is removed with its content."""
        if self._temporary:
            shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def open_folder(*, name: str | None, directory: Path | None) -> SandboxFolder:
    """Make and lock a sandbox's folder: `directory` (kept afterwards), or one in the cache.

    What unnamed sandboxes of killed processes left behind is removed on the way.
    """
    if directory is not None:
        return SandboxFolder(directory.resolve(), temporary=False)
    parent = sandboxes_directory()
    with exclusive(parent / ".lock"):
        for remains in parent.glob(f"{_UNNAMED}*"):
            if not is_running(remains):
                shutil.rmtree(remains, ignore_errors=True)
        if name is None:
            return SandboxFolder(parent / f"{_UNNAMED}{secrets.token_hex(4)}", temporary=True)
        path = parent / checked_name(name)
        folder = SandboxFolder(path, temporary=True)
    for entry in path.iterdir():
        if entry.name != _LOCK:  # the remains of a sandbox of the same name that did not end in order
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    return folder


def checked_name(name: str) -> str:
    """Return `name` when it can be a sandbox's name; raises SandboxError otherwise."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,40}", name):
        raise SandboxError(f"expected a name of letters, digits, '.', '_' and '-', found {name!r}")
    return name


def is_running(path: Path) -> bool:
    """Return whether a living process holds the sandbox of this folder."""
    try:
        descriptor = os.open(path / _LOCK, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def is_unnamed(path: Path) -> bool:
    """Return whether the sandbox of this folder was started without a name, by a program for itself."""
    return path.name.startswith(_UNNAMED)


def owner(path: Path) -> int:
    """Return the process id that holds, or last held, the sandbox of this folder; 0 when it is not known."""
    try:
        text = (path / _LOCK).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return 0
    return int(text) if text.isdigit() else 0


def read_state(path: Path) -> dict[str, Any] | None:
    """Return what the sandbox of this folder recorded, or None when it has not come so far."""
    try:
        state = json.loads((path / _STATE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return state if isinstance(state, dict) else None


def all_folders() -> list[Path]:
    """Return the folders of all sandboxes in the cache, by name."""
    parent = sandboxes_directory()
    return sorted(path for path in parent.iterdir() if path.is_dir()) if parent.is_dir() else []
