"""The guard and the process handle, tried on small Python programs in the place of servers."""

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

from sandbox.errors import SandboxError
from sandbox.process import ServerProcess

pytestmark = pytest.mark.slow

_CHECKOUT = Path(__file__).parents[3]

_SERVER = """
import pathlib, sys, time
ready = pathlib.Path(sys.argv[1])
print("server says hello", flush=True)
ready.write_text("ready")
time.sleep(60)
"""


def _server(folder: Path, code: str = _SERVER) -> ServerProcess:
    ready = folder / "ready"
    return ServerProcess(
        "the server",
        [sys.executable, "-c", code, str(ready)],
        output=folder / "output.log",
        log=folder / "server.log",
        is_ready=ready.exists,
    )


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    made = _server(tmp_path)
    yield made
    made.kill()


def test_it_starts_dies_and_starts_again(server: ServerProcess, tmp_path: Path) -> None:
    server.start()
    server.wait_ready(10)
    first = server.pid
    assert psutil.Process(first).is_running()

    server.kill()

    assert not server.alive
    assert not psutil.pid_exists(first)
    with pytest.raises(SandboxError, match="found it stopped"):
        _ = server.pid

    server.start()
    assert server.pid != first
    assert (tmp_path / "output.log").exists()


def test_stop_lets_it_end_in_order(tmp_path: Path) -> None:
    code = "import signal, sys; signal.signal(15, lambda *_: (print('bye', flush=True), sys.exit(0)));" + _SERVER
    server = _server(tmp_path, code)
    server.start()
    server.wait_ready(10)

    server.stop()

    assert not server.alive
    assert "bye" in server.log_tail()


def test_stop_kills_what_does_not_listen(tmp_path: Path) -> None:
    server = _server(tmp_path, "import signal; signal.signal(15, signal.SIG_IGN);" + _SERVER)
    server.start()
    server.wait_ready(10)

    server.stop(deadline=0.2)

    assert not server.alive


def test_pause_and_resume(server: ServerProcess) -> None:
    server.start()
    server.wait_ready(10)
    process = psutil.Process(server.pid)

    server.pause()
    assert process.status() == psutil.STATUS_STOPPED
    server.resume()
    assert process.status() != psutil.STATUS_STOPPED
    server.pause()
    server.stop(deadline=10)
    assert not server.alive


def test_a_second_start_is_refused(server: ServerProcess) -> None:
    server.start()

    with pytest.raises(SandboxError, match="expected the server to be stopped"):
        server.start()


def test_an_early_end_shows_what_the_server_said(tmp_path: Path) -> None:
    frames = "".join(f"\tat java.base/frame{number}\n" for number in range(100))
    lines = "".join(f"log line {number}\n" for number in range(100))
    (tmp_path / "server.log").write_text(f"{lines}{frames}\t... 15 more\n")
    server = _server(tmp_path, "import sys; sys.exit('no such setting')")
    server.start()

    with pytest.raises(SandboxError, match="ended with code 1") as caught:
        server.wait_ready(10)

    assert "no such setting" in str(caught.value)
    assert "log line 99" in str(caught.value)
    assert "log line 9\n" not in str(caught.value)
    assert "frame" not in str(caught.value)
    assert "more" not in str(caught.value)


def test_a_deadline_shows_what_the_server_said(tmp_path: Path) -> None:
    server = _server(tmp_path, "import time; print('still busy', flush=True); time.sleep(60)")
    server.start()
    until = time.monotonic() + 10
    while "still busy" not in server.log_tail() and time.monotonic() < until:
        time.sleep(0.02)

    with pytest.raises(SandboxError, match=r"did not answer within 0\.1 s") as caught:
        server.wait_ready(0.1)

    assert "still busy" in str(caught.value)
    server.kill()


def test_a_program_that_is_not_there_is_an_early_end(tmp_path: Path) -> None:
    server = ServerProcess(
        "nothing", ["/nowhere/java"], output=tmp_path / "output.log", log=tmp_path / "log", is_ready=lambda: False
    )
    server.start()

    with pytest.raises(SandboxError, match="ended with code 127"):
        server.wait_ready(10)


_PARENT = f"""
import sys, threading, time
from pathlib import Path
sys.path.insert(0, {str(_CHECKOUT)!r})
from sandbox.process import ServerProcess

folder = Path(sys.argv[1])
server = ServerProcess(
    "the server",
    [sys.executable, "-c", {_SERVER!r}, str(folder / "ready")],
    output=folder / "output.log",
    log=folder / "server.log",
    is_ready=(folder / "ready").exists,
)
starter = threading.Thread(target=server.start)
starter.start()
starter.join()
server.wait_ready(10)
print(server.pid, server._guard.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("victim", ["parent", "guard"])
def test_no_server_outlives_its_parent_or_its_guard(tmp_path: Path, victim: str) -> None:
    """The parent starts the server from a thread that ends: that alone must not take the server along."""
    with subprocess.Popen([sys.executable, "-c", _PARENT, str(tmp_path)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        server, guard = (psutil.Process(int(word)) for word in parent.stdout.readline().split())
        assert server.is_running()

        os.kill(parent.pid if victim == "parent" else guard.pid, signal.SIGKILL)

        gone, alive = psutil.wait_procs([server], timeout=10)
        parent.kill()
    assert gone == [server]
    assert alive == []
