"""A sandbox that outlives the command that started it: run by a supervisor process of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from sandbox.cache import CHECKOUT, cache_directory
from sandbox.control import listening, serve, takes_orders
from sandbox.errors import SandboxError
from sandbox.sandbox import Sandbox
from sandbox.signals import heard
from sandbox.state import all_folders, is_running, is_unnamed, owner, read_state

_DOWN_SECONDS = 60.0
_STAY = b"+"


class Background:
    """A sandbox under a supervisor process of its own.

    It ends with this process, however that ends, until `leave` is called. `options` are arguments of Sandbox.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        reader, writer = os.pipe()
        try:
            self._supervisor = subprocess.Popen(
                [sys.executable, "-m", "sandbox", "supervise", str(writer), json.dumps(options, default=str)],
                cwd=CHECKOUT,
                env={**os.environ, "CDC_DAEMON_CACHE": str(cache_directory())},
                pass_fds=[writer],
                stdin=subprocess.PIPE,  # the lifeline: when its other end closes, the supervisor ends
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        finally:
            os.close(writer)
        self._reports = os.fdopen(reader, encoding="utf-8")

    def wait_ready(self, progress: Callable[[str], None]) -> dict[str, Any]:
        """Return the sandbox's description when all its servers answer.

        Raises SandboxError when they do not; then nothing runs.
        """
        try:
            for line in self._reports:
                report = json.loads(line)
                if "ready" in report:
                    return dict(report["ready"])
                if "error" in report:
                    raise SandboxError(report["error"])
                progress(report["progress"])
        except ValueError:
            raise SandboxError("the sandbox was closed before its servers were up") from None
        said = self._supervisor.stderr.read().decode(errors="replace") if self._supervisor.stderr is not None else ""
        raise SandboxError(f"the sandbox's process ended before its servers were up\n{said}".strip())

    def leave(self) -> None:
        """Keep the sandbox running after this process ends; `down` ends it."""
        if self._supervisor.stdin is not None:
            self._supervisor.stdin.write(_STAY)
        self._close_pipes()
        self._supervisor.returncode = 0  # it stays, and Popen must not warn about that

    def close(self) -> None:
        """End the sandbox and remove its data, unless it was left; return when nothing of it runs."""
        if self._supervisor.returncode is None:
            if self._supervisor.stdin is not None:
                self._supervisor.stdin.close()
            self._supervisor.wait()
        self._close_pipes()

    def _close_pipes(self) -> None:
        for pipe in (self._supervisor.stdin, self._supervisor.stderr, self._reports):
            if pipe is not None:
                pipe.close()


def start_in_background(options: dict[str, Any], progress: Callable[[str], None]) -> dict[str, Any]:
    """Start a sandbox with `options` (arguments of Sandbox) under a supervisor; return its description.

    Returns when all its servers answer. Raises SandboxError when they do not, and then nothing runs.
    """
    background = Background(options)
    try:
        state = background.wait_ready(progress)
        background.leave()
    finally:
        background.close()
    return state


def supervise(writer: int, options: dict[str, Any]) -> None:
    """Run a sandbox until a signal ends this process, reporting its start as JSON lines to `writer`.

    Standard input is a lifeline: when it closes before a byte came, the sandbox is given up.
    """
    end_on_signals()
    threading.Thread(target=_end_with, args=[sys.stdin.fileno()], name="lifeline", daemon=True).start()
    with os.fdopen(writer, "w", encoding="utf-8") as reports:

        def report(kind: str, content: object) -> None:
            reports.write(json.dumps({kind: content}) + "\n")
            reports.flush()

        try:
            with (
                Sandbox(**options, progress=lambda line: report("progress", line)) as box,
                listening(box) as listener,
            ):
                report("ready", box.describe())
                reports.close()
                _redirect_errors(box.directory / "supervisor.log")
                serve(box, listener)
        except SandboxError as problem:
            if not reports.closed:
                report("error", str(problem))


def _end_with(lifeline: int) -> None:
    if os.read(lifeline, 1) != _STAY:
        # To the main thread itself: elsewhere the signal would not wake it from what it waits for.
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


def end_on_signals() -> None:
    """Make SIGTERM, SIGINT and SIGHUP end this process by an exception, so that the sandbox is closed."""

    def end(number: int, _frame: FrameType | None) -> NoReturn:
        for other in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(other, signal.SIG_IGN)
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT, *heard(signal.SIGHUP)):
        signal.signal(number, end)


def find(name: str) -> Path:
    """Return the folder of the sandbox with this name; raises SandboxError when there is none."""
    folders = {folder.name: folder for folder in all_folders()}
    if name not in folders:
        known = ", ".join(folders) or "none"
        raise SandboxError(f"there is no sandbox {name!r}; there are: {known}")
    return folders[name]


def down(directory: Path) -> None:
    """End a sandbox that runs in the background and remove its data; also what is left of a dead one."""
    if is_running(directory):
        state = read_state(directory)
        starting_up = state is None and not is_unnamed(directory)
        if not starting_up and not takes_orders(directory):
            raise SandboxError(
                f"the sandbox {directory.name} was not started by `up`: it ends with process {owner(directory)}"
            )
        os.kill(owner(directory), signal.SIGTERM)
        until = time.monotonic() + _DOWN_SECONDS
        while is_running(directory):
            if time.monotonic() > until:
                raise SandboxError(f"process {owner(directory)} did not end within {_DOWN_SECONDS:g} s")
            time.sleep(0.05)
    shutil.rmtree(directory, ignore_errors=True)


def _redirect_errors(log: Path) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, sys.stderr.fileno())
    os.close(descriptor)
