from __future__ import annotations

import random
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from sandbox import ports
from sandbox.errors import SandboxError
from sandbox.ports import FIRST_PORT, LAST_PORT, PortReservation


@pytest.fixture
def reservation() -> Iterator[PortReservation]:
    made = PortReservation()
    yield made
    made.close()


@pytest.fixture
def one_port(reservation: PortReservation, monkeypatch: pytest.MonkeyPatch) -> int:
    """A port that nobody else has, and from now on the only one to choose from."""
    port = reservation.reserve()
    reservation.close()
    monkeypatch.setattr(random, "randint", lambda *_: port)
    monkeypatch.setattr(ports, "_ATTEMPTS", 3)
    return port


def test_ports_differ_and_lie_below_those_of_outgoing_connections(reservation: PortReservation) -> None:
    chosen = [reservation.reserve(["127.0.0.1", "127.0.0.2"]) for _ in range(50)]

    assert len(set(chosen)) == 50
    assert all(FIRST_PORT <= port <= LAST_PORT for port in chosen)


def test_a_reserved_port_is_nobody_elses_until_it_is_given_back(reservation: PortReservation, one_port: int) -> None:
    assert reservation.reserve() == one_port
    other = PortReservation()

    with pytest.raises(SandboxError, match="no free port"):
        other.reserve()

    reservation.close()
    assert other.reserve() == one_port
    other.close()


def test_the_claim_ends_with_the_process_that_made_it(reservation: PortReservation, one_port: int) -> None:
    claim = (
        "import os, random; from sandbox.ports import PortReservation; "
        f"random.randint = lambda *_: {one_port}; r = PortReservation(); print(r.reserve()); os._exit(9)"
    )
    result = subprocess.run([sys.executable, "-c", claim], capture_output=True, text=True, check=False)

    assert result.stdout.strip() == str(one_port), result.stderr
    assert reservation.reserve() == one_port


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2"])
def test_a_port_in_use_on_any_of_the_hosts_is_not_chosen(
    reservation: PortReservation, one_port: int, host: str
) -> None:
    with socket.create_server((host, one_port)), pytest.raises(SandboxError, match="no free port"):
        reservation.reserve(["127.0.0.1", "127.0.0.2"])
