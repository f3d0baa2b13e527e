"""One server process: started under a guard, signalled, awaited, and its log read when it fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

from sandbox.errors import SandboxError

_GUARD = Path(__file__).with_name("guard.py")
_POLL_SECONDS = 0.05
_KILL_SECONDS = 30.0
_PAUSE_SECONDS = 10.0
_TAIL_LINES = 25
_STACK_FRAME = ("\tat ", "\t... ")


class ServerProcess:
    """A server that can be started, stopped and started again; never more than one process at a time.

    `command` is the whole command line (an absolute program first), `output` the file that gets its
    standard output and error, `log` the server's own log file, `is_ready` tells whether it answers.
    Each process dies with the Python process that started it (see `guard`).
    """

    def __init__(self, name: str, command: list[str], *, output: Path, log: Path, is_ready: Callable[[], bool]) -> None:
        self.name = name
        self.command = command
        self.output = output
        self.log = log
        self._is_ready = is_ready
        self._guard: subprocess.Popen[bytes] | None = None
        self._pid = 0
        self._paused = False

    @property
    def pid(self) -> int:
        """The server's process id; raises SandboxError when it does not run."""
        if not self.alive:
            raise SandboxError(f"expected {self.name} to be running, found it stopped")
        return self._pid

    @property
    def alive(self) -> bool:
        """Whether the process is there (a paused one is)."""
        return self._guard is not None and self._guard.poll() is None

    def start(self) -> None:
        """Start the process and return at once; `wait_ready` waits until it answers."""
        if self.alive:
            raise SandboxError(f"expected {self.name} to be stopped, found it running as process {self._pid}")
        self._close_guard()
        self.output.parent.mkdir(parents=True, exist_ok=True)
        guard = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_GUARD), str(self.output), *self.command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C at the terminal is for the starter, not for its servers
        )
        assert guard.stdout is not None
        answer = guard.stdout.readline()
        guard.stdout.close()
        self._guard = guard
        self._paused = False
        if not answer.strip().isdigit():
            raise SandboxError(f"the guard of {self.name} did not start it: {' '.join(self.command[:3])} ...")
        self._pid = int(answer)

    def wait_ready(self, deadline: float = 120.0) -> None:
        """Return as soon as the server answers.

        Raises SandboxError with the end of its log when it ends first or does not answer within `deadline`
        seconds.
        """
        until = time.monotonic() + deadline
        while not self._is_ready():
            if not self.alive:
                code = self._guard.returncode if self._guard is not None else None
                self._close_guard()
                raise SandboxError(f"{self.name} ended with code {code} before it answered\n{self.log_tail()}")
            if time.monotonic() > until:
                raise SandboxError(f"{self.name} did not answer within {deadline:g} s\n{self.log_tail()}")
            time.sleep(_POLL_SECONDS)

    def kill(self) -> None:
        """End the process at once, as a crash would (SIGKILL); nothing happens when it does not run."""
        self._signal(signal.SIGKILL)
        if not self._ended_within(_KILL_SECONDS):
            raise SandboxError(f"{self.name} did not end within {_KILL_SECONDS:g} s after SIGKILL")

    def stop(self, deadline: float = 60.0) -> None:
        """Ask the server to shut down (SIGTERM) and wait; after `deadline` seconds it is killed."""
        if self._paused and self.alive:
            self.resume()
        self._signal(signal.SIGTERM)
        if not self._ended_within(deadline):
            self.kill()

    def pause(self) -> None:
        """Freeze the process (SIGSTOP) and return when it stands: connections stay open, nothing answers."""
        pid = self.pid
        os.kill(pid, signal.SIGSTOP)
        self._paused = True
        until = time.monotonic() + _PAUSE_SECONDS
        while not _is_frozen(pid):
            if time.monotonic() > until:
                raise SandboxError(f"{self.name} did not freeze within {_PAUSE_SECONDS:g} s after SIGSTOP")
            time.sleep(0.001)

    def resume(self) -> None:
        """Resume a paused process (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)
        self._paused = False

    def log_tail(self, lines: int = _TAIL_LINES) -> str:
        """Return the last lines of the server's output and log, each under its path, without stack frames."""
        parts = []
        for path in dict.fromkeys((self.output, self.log)):
            text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
            telling = [line for line in text.splitlines() if line.strip() and not line.startswith(_STACK_FRAME)]
            if telling:
                parts.append("\n".join([f"--- {path}", *telling[-lines:]]))
        return "\n".join(parts) or f"--- {self.log} is empty"

    def _signal(self, number: signal.Signals) -> None:
        if self.alive:
            os.kill(self._pid, number)

    def _ended_within(self, seconds: float) -> bool:
        if self._guard is not None:
            try:
                self._guard.wait(seconds)
            except subprocess.TimeoutExpired:
                return False
        self._close_guard()
        return True

    def _close_guard(self) -> None:
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()


class Server(ABC):
    """The actions of every kind of server on its process. A kind creates `_process`, and its files in `_prepare`."""

    _process: ServerProcess

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the server's process is there."""
        return self._process.alive

    def start(self) -> None:
        """Start the server and return at once; its folders and settings are made when absent."""
        self._prepare()
        self._process.start()

    def wait_ready(self, deadline: float = 120.0) -> None:
        """Return when the server answers; SandboxError with its last log lines after `deadline` seconds."""
        self._process.wait_ready(deadline)

    def kill(self) -> None:
        """Kill the server as kill -9 does."""
        self._process.kill()

    def stop(self) -> None:
        """Shut the server down in order (SIGTERM)."""
        self._process.stop()

    def pause(self) -> None:
        """Freeze the server (SIGSTOP), as a very long garbage collection would: connections stay open."""
        self._process.pause()

    def resume(self) -> None:
        """Resume a paused server (SIGCONT)."""
        self._process.resume()

    @abstractmethod
    def _prepare(self) -> None:
        """Make what the process needs to start."""


def _is_frozen(pid: int) -> bool:
    """Return whether all threads of the process are stopped (state T in /proc). The kernel may take a moment."""
    try:
        threads = [thread / "stat" for thread in Path(f"/proc/{pid}/task").iterdir()]
        return all(path.read_text().rpartition(")")[2].split()[0] == "T" for path in threads)
    except (FileNotFoundError, ProcessLookupError):
        return False  # a thread ended while we looked
