"""A daemon of this user on this host, reached through the control socket in its state directory."""

from __future__ import annotations

import http.client
import os
import pwd
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from cdc_daemon.model.control_socket import CONTROL_SOCKET, socket_address


class LocalAnswer(NamedTuple):
    """An answer on the control socket."""

    status: int
    retry_after: str | None
    body: bytes


class LocalDaemon:
    """Sends requests through the control socket. `trouble` says why it could not be opened the last time, or is ""."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / CONTROL_SOCKET
        self.trouble = ""

    def send(
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str], timeout: float
    ) -> LocalAnswer | None:
        """Send one request; return None, and set `trouble`, if the socket cannot be opened.

        Raises `OSError`, `HTTPException` or `ValueError` if the daemon does not answer.
        """
        opened = self._open(timeout)
        if opened is None:
            return None
        connection = http.client.HTTPConnection("localhost", timeout=timeout)
        connection.sock = opened
        try:
            connection.request(method, path, content, dict(headers))
            answer = connection.getresponse()
            return LocalAnswer(answer.status, answer.headers.get("retry-after"), answer.read())
        finally:
            connection.close()

    def _open(self, timeout: float) -> socket.socket | None:
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        opened.settimeout(timeout)
        try:
            with socket_address(self.path) as address:
                opened.connect(address)
        except BlockingIOError:
            opened.close()
            raise  # its queue is full: the daemon is there, and busy
        except OSError as error:
            opened.close()
            self.trouble = self._explain(error)
            return None
        self.trouble = ""
        return opened

    def _explain(self, error: OSError) -> str:
        if isinstance(error, FileNotFoundError):
            return f"there is no control socket at {self.path}"
        if isinstance(error, ConnectionRefusedError):
            return f"no daemon serves the control socket {self.path}: it has ended without a stop"
        if isinstance(error, PermissionError):
            return f"this user may not open the control socket {self.path}: run the command as {self._owner()}"
        return f"the control socket {self.path} cannot be opened: {error.strerror or error}"

    def _owner(self) -> str:
        for place in (self.path, self.path.parent):
            try:
                number = place.stat().st_uid
            except OSError:
                continue
            try:
                return f"user {pwd.getpwuid(number).pw_name}" if number != os.getuid() else "the daemon's user"
            except KeyError:
                return f"the user with the number {number}"
        return "the daemon's user"
