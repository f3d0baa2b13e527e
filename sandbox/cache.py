"""The cache folder: the one place outside the source tree's own files that the sandbox writes to."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent


def cache_directory() -> Path:
    """Return the folder for downloaded jars and running sandboxes.

    It is the environment's `CDC_DAEMON_CACHE` when set, else `.cache` in the checkout. It need not exist yet.
    """
    chosen = os.environ.get("CDC_DAEMON_CACHE")
    return Path(chosen).expanduser().resolve() if chosen else CHECKOUT / ".cache"


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock file at `path` for the time of the block; wait while another process holds it.

    The lock is the kernel's (flock), so a process that dies leaves none behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
