from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from sandbox.artifacts import CASSANDRA_VERSIONS, cassandra_set
from sandbox.engines import find_engine
from sandbox.errors import SandboxError
from sandbox.maven import fetch, maven_command, pom_text

_NAMESPACE = {"m": "http://maven.apache.org/POM/4.0.0"}

_COPIES = """
for argument in "$@"; do case "$argument" in -DoutputDirectory=*) folder="${argument#*=}";; esac; done
echo run >> "$MAVEN_RUNS"
sleep 0.2
mkdir -p "$folder" && echo jar > "$folder/one.jar"
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("CDC_DAEMON_CACHE", str(folder))
    return folder


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with a line for each run of the pretended Maven."""
    path = tmp_path / "runs"
    path.touch()
    monkeypatch.setenv("MAVEN_RUNS", str(path))
    return path


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def _pretend_maven(programs: Path, script: str) -> None:
    program = programs / "mvn"
    program.write_text(f"#!/bin/sh\n{script}")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def test_the_project_asks_for_the_artifacts_and_nothing_else() -> None:
    artifacts = find_engine("elasticsearch").artifacts
    root = ET.fromstring(pom_text(artifacts))

    dependencies = [
        ":".join(str(part.text) for part in dependency)
        for dependency in root.findall("m:dependencies/m:dependency", _NAMESPACE)
    ]
    assert dependencies == list(artifacts.coordinates)


def test_maven_keeps_everything_in_the_cache(cache: Path) -> None:
    command = maven_command(cache / "pom.xml", cache / "lib")

    assert f"-Dmaven.repo.local={cache}/maven-repository" in command
    assert f"-DoutputDirectory={cache}/lib" in command


def test_a_fetched_set_needs_no_maven_the_second_time(cache: Path, runs: Path, programs: Path) -> None:
    _pretend_maven(programs, _COPIES)
    wanted = cassandra_set("5.0")
    lines: list[str] = []

    fetch([wanted], progress=lines.append)
    _pretend_maven(programs, "exit 1")
    fetch([wanted], progress=lines.append)

    assert [path.name for path in wanted.library.iterdir()] == ["one.jar"]
    assert wanted.marker.read_text() == "one.jar\n"
    assert wanted.directory.parent == cache
    assert len(lines) == 2
    assert all(line.startswith("Cassandra 5.0") for line in lines)
    assert not (cache / "maven-repository").exists()


def test_two_fetches_at_once_download_once(cache: Path, runs: Path, programs: Path) -> None:
    _pretend_maven(programs, _COPIES)

    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(fetch, [cassandra_set("5.0")]) for _ in range(3)]:
            done.result()

    assert runs.read_text() == "run\n"


def test_what_an_interrupted_download_left_does_not_count(cache: Path, runs: Path, programs: Path) -> None:
    _pretend_maven(programs, _COPIES)
    wanted = cassandra_set("4.1")
    wanted.library.mkdir(parents=True)
    (wanted.library / "half.jar").touch()

    fetch([wanted])

    assert [path.name for path in wanted.library.iterdir()] == ["one.jar"]


def test_a_failure_shows_the_end_of_what_maven_said(cache: Path, programs: Path) -> None:
    _pretend_maven(programs, 'for n in $(seq 40); do echo "[ERROR] line $n"; done; exit 7')

    with pytest.raises(SandboxError, match=r"Cassandra 4\.0\.18.*code 7") as caught:
        fetch([cassandra_set("4.0")])

    assert "line 40" in str(caught.value)
    assert "line 20" not in str(caught.value)
    assert caught.value.hint
    assert not cassandra_set("4.0").directory.exists()


def test_without_maven_the_error_says_so(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(SandboxError, match="mvn") as caught:
        fetch([cassandra_set("5.0")])

    assert "install Maven" in str(caught.value)


def test_versions_are_release_lines_or_exact() -> None:
    for line, exact in CASSANDRA_VERSIONS.items():
        assert cassandra_set(line) == cassandra_set(exact)
    with pytest.raises(SandboxError, match=r"5\.0, 4\.1, 4\.0, 3\.11"):
        cassandra_set("2.2")
