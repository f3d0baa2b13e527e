"""A Unix socket that only processes of the same user can connect to."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path

from cdc_daemon.model.control_socket import socket_address

_BACKLOG = 128


def listen_for_own_user(path: Path) -> socket.socket:
    """Listen on a Unix socket at `path` with the mode 0600, in place of one that a killed process has left.

    The socket gets its mode before it listens, and its name after that, so nobody else can ever connect.
    Raises `OSError`.
    """
    unfinished = path.with_name(f"{path.name}.new")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        unfinished.unlink(missing_ok=True)
        with socket_address(unfinished) as address:
            listener.bind(address)
        unfinished.chmod(0o600)
        listener.listen(_BACKLOG)
        unfinished.replace(path)
    except OSError:
        listener.close()
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise
    listener.settimeout(0)
    return listener
