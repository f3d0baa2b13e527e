"""Runs one server as its child and takes it along when whoever started it is gone.

Run as a script: `python -I guard.py LOG COMMAND ...`. Standard input is a pipe whose other end only the
starter holds; when it closes, for whatever reason (exit, exception, kill -9), the server's process group is
killed. The guard writes the server's process id to standard output as soon as it runs, and ends when the
server does, with the server's exit code (a signal counts as 128 plus its number, as in a shell).

Why a process of its own: the kernel's parent-death signal follows the *thread* that forked, so a server
started from a worker thread would die with that thread; and code between fork and exec is unsafe in a
program with threads. The guard has one thread, so both are safe here, and the parent-death signal covers
the case that the guard itself is killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(log: str, command: list[str]) -> int:
    """Run `command` until it ends or standard input closes; its output is appended to the file `log`."""
    wake_reader, wake_writer = os.pipe()
    os.set_blocking(wake_writer, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
    for stopper in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(stopper, signal.SIG_IGN)  # the pipe is the only order to end

    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    guard = os.getpid()
    begun_reader, begun_writer = os.pipe()  # closed by exec
    server = os.fork()
    if server == 0:
        _become_server(libc, guard, log, command)
    os.close(begun_writer)
    os.read(begun_reader, 1)  # until the server's program runs, a SIGTERM to it would be ignored
    os.write(sys.stdout.fileno(), f"{server}\n".encode())
    os.close(sys.stdout.fileno())

    while True:
        readable, _, _ = select.select([0, wake_reader], [], [])
        if wake_reader in readable:
            os.read(wake_reader, 4096)
        ended, status = os.waitpid(server, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        if 0 in readable and not os.read(0, 4096):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server, signal.SIGKILL)
            os.kill(server, signal.SIGKILL)  # in case it had not come to setsid yet
            os.waitpid(server, 0)
            return 128 + signal.SIGKILL


def _become_server(libc: ctypes.CDLL | None, guard: int, log: str, command: list[str]) -> None:
    try:
        os.setsid()
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:
            os._exit(1)
        signal.set_wakeup_fd(-1)
        for changed in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(changed, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.execv(command[0], command)  # noqa: S606 - no shell is the point
    finally:
        os._exit(127)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
