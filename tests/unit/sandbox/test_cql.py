from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sandbox import cql

_READY, _AUTHENTICATE, _RESULT, _ERROR = 0x02, 0x03, 0x08, 0x00


@contextmanager
def _node(*opcodes: int) -> Iterator[int]:
    """A node that answers each request with the next of these opcodes, and then hangs up; gives its port."""

    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            for opcode in opcodes:
                connection.recv(4096)
                connection.sendall(struct.pack(">BBhBI", 0x84, 0, 0, opcode, 2) + b"\0\0")
            connection.recv(4096)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, args=[listener])
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


@pytest.mark.parametrize(
    ("opcodes", "expected"),
    [([_READY, _RESULT], True), ([_AUTHENTICATE], True), ([_READY, _ERROR], False), ([_ERROR], False), ([], False)],
)
def test_only_a_result_or_a_demand_for_credentials_is_an_answer(opcodes: list[int], *, expected: bool) -> None:
    with _node(*opcodes) as port:
        assert cql.answers("127.0.0.1", port) is expected


def test_nobody_there_is_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    assert cql.answers("127.0.0.1", port) is False


@pytest.mark.parametrize("tls", [False, True])
def test_a_node_that_accepts_and_says_nothing_is_no_answer(*, tls: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert cql.answers("127.0.0.1", listener.getsockname()[1], timeout=0.1, tls=tls) is False
