"""A sandbox under its supervisor, without servers: what lives as long as what."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from sandbox.background import Background, down, start_in_background
from sandbox.control import order, run_program
from sandbox.errors import SandboxError
from sandbox.maven import silent
from sandbox.sandbox import Sandbox
from sandbox.state import is_running, read_state, sandboxes_directory

_CHECKOUT = Path(__file__).parents[3]
_NOTHING = {"cassandra": None, "elasticsearch": False}
_SLEEP = [sys.executable, "-c", "print('hello', flush=True); import time; time.sleep(60)"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CDC_DAEMON_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def background() -> Iterator[Background]:
    made = Background(_NOTHING)
    yield made
    made.close()


def _program(directory: Path, name: str = "sleeper") -> psutil.Process:
    state = read_state(directory)
    assert state is not None
    return psutil.Process(state["programs"][name]["pid"])


def _await_end(directory: Path) -> None:
    until = time.monotonic() + 20
    while is_running(directory) or directory.exists():
        assert time.monotonic() < until, f"{directory} is still there"
        time.sleep(0.01)


def test_closing_ends_the_sandbox_with_its_programs(background: Background) -> None:
    directory = Path(background.wait_ready(silent)["directory"])
    output = directory / "sleeper.log"
    run_program(directory, "sleeper", _SLEEP, output=output)
    sleeper = _program(directory)
    while not (output.exists() and "hello" in output.read_text()):
        time.sleep(0.01)

    background.close()

    assert not sleeper.is_running()
    assert not directory.exists()
    background.close()


def test_a_program_is_killed_and_started_like_a_server(background: Background) -> None:
    directory = Path(background.wait_ready(silent)["directory"])
    run_program(directory, "sleeper", _SLEEP, output=directory / "sleeper.log")
    first = _program(directory)

    order(directory, "kill", "sleeper")
    assert not first.is_running()
    order(directory, "start", "sleeper")
    assert _program(directory).pid != first.pid
    order(directory, "stop", "sleeper")

    state = read_state(directory)
    assert state is not None
    assert state["programs"]["sleeper"]["pid"] is None
    with pytest.raises(SandboxError, match="unused name"):
        run_program(directory, "sleeper", _SLEEP, output=directory / "sleeper.log")
    with pytest.raises(SandboxError, match="found 'no name'"):
        run_program(directory, "no name", _SLEEP, output=directory / "sleeper.log")


def test_what_is_left_stays_until_it_is_taken_down() -> None:
    state = start_in_background({**_NOTHING, "name": "left"}, silent)
    directory = Path(state["directory"])
    run_program(directory, "sleeper", _SLEEP, output=directory / "sleeper.log")
    sleeper = _program(directory)

    assert is_running(directory)
    assert sleeper.is_running()
    down(directory)

    assert not sleeper.is_running()
    assert not directory.exists()


_PARENT = """
from sandbox.background import Background
from sandbox.control import run_program
from sandbox.maven import silent
import pathlib, sys, time
background = Background({"cassandra": None, "elasticsearch": False})
directory = pathlib.Path(background.wait_ready(silent)["directory"])
run_program(directory, "sleeper", [sys.executable, "-c", "import time; time.sleep(60)"], output=directory / "log")
print(directory, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_outlives_a_parent_that_is_killed(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", _PARENT], cwd=_CHECKOUT, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        directory = Path(parent.stdout.readline().decode().strip())
        sleeper = _program(directory)
        parent.send_signal(number)
        parent.wait(20)

    _await_end(directory)
    assert not sleeper.is_running()


def test_closing_before_it_is_up_gives_it_up(background: Background) -> None:
    background.close()

    # Given up in the very moment of its making, its folder may be left; the next start sweeps it away.
    folders = sandboxes_directory()
    left = [path for path in folders.iterdir() if path.is_dir()] if folders.exists() else []
    assert not any(is_running(path) for path in left)


def test_a_sandbox_that_cannot_start_says_why() -> None:
    with pytest.raises(SandboxError, match="expected 1 to 9 nodes"):
        start_in_background({"nodes": 0}, silent)


def test_a_program_dies_with_a_sandbox_in_this_process(tmp_path: Path) -> None:
    with Sandbox(cassandra=None, elasticsearch=False) as box:
        program = box.add("sleeper", _SLEEP, output=tmp_path / "sleeper.log")
        assert box.server("sleeper") is program
        assert box.describe()["programs"]["sleeper"]["pid"] is None
        program.start()
        program.wait_ready(5)
        pid = program.pid
        os.kill(pid, 0)
        with pytest.raises(SandboxError, match="expected one of sleeper"):
            box.server("elasticsearch")

    assert not psutil.pid_exists(pid)
