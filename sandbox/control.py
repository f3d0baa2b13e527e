"""Orders to a sandbox that another process runs: stop it, or kill, stop, start, pause, resume one server."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from sandbox.errors import SandboxError
from sandbox.sandbox import Sandbox
from sandbox.state import is_running

ACTIONS = ("kill", "stop", "start", "pause", "resume")
"""What can be done to one server; each is the method of the same name."""

_SOCKET = "control"
_ANSWER_SECONDS = 180.0
_LARGEST_MESSAGE = 65_536


@contextmanager
def listening(box: Sandbox) -> Iterator[socket.socket]:
    """Accept orders to the sandbox; `serve` carries them out."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with listener, _address(box.directory) as address:
        listener.bind(address)
        listener.listen()
        yield listener


def serve(box: Sandbox, listener: socket.socket) -> NoReturn:
    """Carry out orders to the sandbox until a signal ends this process (by an exception)."""
    while True:
        connection, _ = listener.accept()
        with connection:
            _answer(box, connection)


def takes_orders(directory: Path) -> bool:
    """Return whether the sandbox of this folder runs in a process of its own, started by `up`."""
    return is_running(directory) and (directory / _SOCKET).exists()


def order(directory: Path, action: str, server: str) -> None:
    """Ask the process that runs the sandbox of this folder to do `action` to `server`; return when it is done.

    `start` returns when the server answers. Raises SandboxError when it cannot be done.
    """
    _send(directory, {"action": action, "server": server})


def run_program(directory: Path, name: str, command: Sequence[str], *, output: Path) -> None:
    """Ask the process that runs the sandbox of this folder to start a program beside its servers.

    The program lives as long as they do and takes orders by its name. `command` has an absolute program
    first; `output` gets what it writes. Raises SandboxError when it cannot be done.
    """
    _send(directory, {"action": "run", "server": name, "command": list(command), "output": str(output)})


def _send(directory: Path, request: dict[str, Any]) -> None:
    if not takes_orders(directory):
        raise SandboxError(f"there is no running sandbox {directory.name} that takes orders")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_ANSWER_SECONDS)
        try:
            with _address(directory) as address:
                connection.connect(address)
            connection.sendall(json.dumps(request).encode() + b"\n")
            answer = json.loads(_line(connection))
        except (OSError, ValueError) as problem:
            raise SandboxError(f"the sandbox {directory.name} gave no answer: {problem}") from None
    if "error" in answer:
        raise SandboxError(str(answer["error"]))


def _answer(box: Sandbox, connection: socket.socket) -> None:
    connection.settimeout(_ANSWER_SECONDS)
    answer: dict[str, Any] = {}
    try:
        request = json.loads(_line(connection))
        if request["action"] == "run":
            output = Path(str(request["output"]))
            box.add(str(request["server"]), [str(part) for part in request["command"]], output=output).start()
            box.record()
        else:
            _carry_out(box, str(request["action"]), str(request["server"]))
    except (SandboxError, ValueError, KeyError, OSError) as problem:
        answer["error"] = str(problem)
    try:
        connection.sendall(json.dumps(answer).encode() + b"\n")
    except OSError:
        return  # who asked has gone; the order is carried out all the same


def _carry_out(box: Sandbox, action: str, server: str) -> None:
    if action not in ACTIONS:
        raise SandboxError(f"expected one of {', '.join(ACTIONS)}, found {action!r}")
    target = box.server(server)
    getattr(target, action)()
    if action == "start":
        target.wait_ready()
    box.record()


def _line(connection: socket.socket) -> bytes:
    received = b""
    while not received.endswith(b"\n"):
        part = connection.recv(4096)
        if not part or len(received) > _LARGEST_MESSAGE:
            raise ValueError("expected one line of JSON")
        received += part
    return received


@contextmanager
def _address(directory: Path) -> Iterator[str]:
    """Return the socket's path through an open folder, as the path of a socket is limited to 107 bytes."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{_SOCKET}"
    finally:
        os.close(descriptor)
