"""The smallest possible CQL client: asks a node one question, to learn whether it answers."""

from __future__ import annotations

import socket
import ssl
import struct

_HEADER = struct.Struct(">BBhBI")
_REQUEST_VERSION = 4
_STARTUP = 0x01
_QUERY = 0x07
_AUTHENTICATE = 0x03
_READY = 0x02
_RESULT = 0x08
_CONSISTENCY_ONE = 1
_QUESTION = b"SELECT release_version FROM system.local"


def answers(host: str, port: int, *, timeout: float = 2.0, tls: bool = False) -> bool:
    """Return whether the node answers a query over CQL (native protocol version 4) within `timeout` seconds.

    A node that asks for authentication counts as answering. With `tls` the certificate is not looked at.
    """
    try:
        with socket.create_connection((host, port), timeout) as plain:
            if not tls:
                return _ask(plain)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            with context.wrap_socket(plain) as secured:
                return _ask(secured)
    except (OSError, EOFError):
        return False


def _ask(connection: socket.socket) -> bool:
    options = _string(b"CQL_VERSION") + _string(b"3.0.0")
    answer = _request(connection, _STARTUP, struct.pack(">H", 1) + options)
    if answer == _AUTHENTICATE:
        return True
    query = struct.pack(">I", len(_QUESTION)) + _QUESTION + struct.pack(">HB", _CONSISTENCY_ONE, 0)
    return answer == _READY and _request(connection, _QUERY, query) == _RESULT


def _string(text: bytes) -> bytes:
    return struct.pack(">H", len(text)) + text


def _request(connection: socket.socket, opcode: int, body: bytes) -> int:
    connection.sendall(_HEADER.pack(_REQUEST_VERSION, 0, 0, opcode, len(body)) + body)
    answer = _receive(connection, _HEADER.size)
    _, _, _, answered, length = _HEADER.unpack(answer)
    _receive(connection, length)
    return int(answered)


def _receive(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        part = connection.recv(size - len(received))
        if not part:
            raise EOFError
        received += part
    return received
