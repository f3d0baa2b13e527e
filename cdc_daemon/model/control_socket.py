"""The control socket: a Unix socket in the state directory, through which commands on its host reach the daemon."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CONTROL_SOCKET = "control.sock"
"""Name of the socket in the state directory."""

LONGEST_ADDRESS = 107
"""Length limit of a Unix socket's address in bytes: 108 in `sockaddr_un`, of which a zero takes one (unix(7))."""

_OWN_DESCRIPTORS = Path("/proc/self/fd")


@contextmanager
def socket_address(path: Path) -> Iterator[str]:
    """Yield an address for the socket at `path`, which may be longer than an address can be.

    A long path is reached through an open descriptor of its folder. Raises `OSError`.
    """
    if len(os.fsencode(path)) <= LONGEST_ADDRESS:
        yield str(path)
        return
    folder = os.open(path.parent, getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not _OWN_DESCRIPTORS.is_dir():
            raise OSError(errno.ENAMETOOLONG, f"its path is longer than {LONGEST_ADDRESS} bytes", str(path))
        yield str(_OWN_DESCRIPTORS / str(folder) / path.name)
    finally:
        os.close(folder)
