"""Free TCP ports that stay free until their server is up, and across its restarts."""

from __future__ import annotations

import random
import socket
from collections.abc import Sequence

from sandbox.errors import SandboxError

FIRST_PORT = 20_000
LAST_PORT = 32_000
"""Below 32768, where Linux begins to give ports to outgoing connections (ip_local_port_range): one of
those could take a port in the seconds between its choice and the server's bind, or during a restart."""

_ATTEMPTS = 500


class PortReservation:
    """Ports that no other sandbox on this machine will choose as long as this object is open.

    Each port is claimed by binding a name in Linux's abstract socket namespace. That is atomic, ends with
    the process however it ends, leaves no file, and has the same reach as the ports themselves (the network
    namespace).
    """

    def __init__(self) -> None:
        self._claims: list[socket.socket] = []

    def reserve(self, hosts: Sequence[str] = ("127.0.0.1",)) -> int:
        """Return a port that is free on all `hosts`, and claim it.

        Raises SandboxError when none is found.
        """
        for _ in range(_ATTEMPTS):
            port = random.randint(FIRST_PORT, LAST_PORT)  # noqa: S311 - no secret
            claim = _claim(port)
            if claim is None:
                continue
            if all(_is_free(host, port) for host in hosts):
                self._claims.append(claim)
                return port
            claim.close()
        raise SandboxError(f"found no free port between {FIRST_PORT} and {LAST_PORT} on {', '.join(hosts)}")

    def close(self) -> None:
        """Give the ports back."""
        while self._claims:
            self._claims.pop().close()


def _claim(port: int) -> socket.socket | None:
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0cdc-daemon-sandbox-port-{port}")
    except OSError:
        claim.close()
        return None
    return claim


def _is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As Java does on Linux: a port whose last connections are in TIME_WAIT counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
