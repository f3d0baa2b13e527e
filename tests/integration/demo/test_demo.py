"""The demo as people run it: a process, its output, its exit code, and what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from sandbox.demo.stage import KEPT_NAME

_CHECKOUT = Path(__file__).parents[3]


@pytest.fixture
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of the demo's own that borrows the jars, so that a demo somebody has kept is not touched."""
    real = Path(os.environ.get("CDC_DAEMON_CACHE", _CHECKOUT / ".cache"))
    folder = tmp_path_factory.mktemp("cache")
    for entry in real.iterdir():
        if entry.name.startswith(("cassandra-", "elasticsearch-", "opensearch-", "java-")):
            (folder / entry.name).symlink_to(entry)
    return folder


@pytest.fixture
def environment(cache: Path) -> dict[str, str]:
    return {**os.environ, "CDC_DAEMON_CACHE": str(cache)}


def _sandbox(environment: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-m", "sandbox", *arguments]
    result = subprocess.run(
        command, cwd=_CHECKOUT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def _get(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def _processes(cache: Path) -> list[psutil.Process]:
    """Return every process that has to do with a sandbox in this cache."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("CDC_DAEMON_CACHE") == str(cache):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture
def kept(environment: dict[str, str]) -> Iterator[str]:
    yield KEPT_NAME
    subprocess.run(
        [sys.executable, "-m", "sandbox", "down", KEPT_NAME],
        cwd=_CHECKOUT,
        env=environment,
        capture_output=True,
        check=False,
    )


@pytest.mark.timeout(900)
def test_it_ends_equal_and_what_is_kept_can_be_tried_by_hand(
    environment: dict[str, str], cache: Path, kept: str
) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "sandbox.demo", "--keep", "--seconds", "3", "--rate", "50"],
        cwd=_CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    told = result.stdout
    assert result.returncode == 0, told + result.stderr
    assert "\x1b" not in told
    for text in ("changes written", "undisturbed", "daemon kill -9", "Elasticsearch down"):
        assert text in told
    for mapping in ("user", "organisation", "location", "batch", "user_course"):
        assert f"{mapping}: EQUAL, " in told
    renamed = re.search(r"^renamed +(\d+) organisations", told, re.MULTILINE)
    assert renamed is not None
    assert int(renamed[1]) > 0

    (state,) = json.loads(_sandbox(environment, "status", "--json"))
    assert state["status"] == "running"
    assert f"down {kept}" in told
    config = Path(state["directory"]) / "daemon" / "config.yaml"
    url = f"{state['elasticsearch']['url']}/user_alias/_doc/me"

    _sandbox(environment, "cql", "--name", kept, "INSERT INTO sunbird.user (id, firstname) VALUES ('me', 'Ada')")
    until = time.monotonic() + 30
    while (found := _try_get(url)) is None:
        assert time.monotonic() < until
        time.sleep(0.02)
    assert found["_source"]["firstName"] == "Ada"
    assert "firstname: Ada" in _sandbox(
        environment, "cql", "--name", kept, "SELECT * FROM sunbird.user WHERE id = 'me'"
    )
    assert "user: EQUAL, " in _sandbox(environment, "compare", "--config", str(config))

    _sandbox(environment, "down", kept)
    _, alive = psutil.wait_procs(_processes(cache), timeout=60)
    assert alive == []
    assert not Path(state["directory"]).exists()


def _try_get(url: str) -> dict[str, Any] | None:
    try:
        return _get(url)
    except OSError:
        return None


@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_when_it_is_interrupted(
    number: signal.Signals, environment: dict[str, str], cache: Path
) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "sandbox.demo"],
        cwd=_CHECKOUT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as demo:
        assert demo.stdout is not None
        lines = []
        for line in demo.stdout:
            lines.append(line)
            if "warm up" in line:
                break
        assert any("cdc-daemon" in " ".join(process.cmdline()) for process in _processes(cache))
        demo.send_signal(number)
        lines.append(demo.stdout.read())
        code = demo.wait(60)

    _, alive = psutil.wait_procs(_processes(cache), timeout=30)
    assert alive == [], "".join(lines)
    if number == signal.SIGINT:
        assert code == 130, "".join(lines)
        assert "interrupted" in lines[-1]
        assert "Traceback" not in "".join(lines)
    folders = [path for path in (cache / "sandboxes").iterdir() if path.is_dir()]
    assert folders == []
