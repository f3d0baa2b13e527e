from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sandbox.debian import DebianProgram, find_program
from sandbox.errors import SandboxError
from sandbox.programs import PROGRAMS

WANTED = DebianProgram(
    "reader", commands=("no-such-reader",), packages=("reader", "fonts-plain"), inside="usr/bin/reader"
)

_APT_GET = """
echo "$@" >> "$APT_RUNS"
for argument in "$@"; do case "$argument" in Dir::Cache::archives=*) folder="${argument#*=}";; esac; done
case "$*" in *" install "*) sleep 0.2; echo package > "$folder/reader_1.deb";; esac
"""

_DPKG_DEB = """
mkdir -p "$3/usr/bin" "$3/usr/lib/machine" "$3/usr/share/fonts"
echo program > "$3/usr/bin/reader"
echo library > "$3/usr/lib/machine/libreader.so.1"
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("CDC_DAEMON_CACHE", str(folder))
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    return folder


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with a line for each run of the pretended apt-get."""
    path = tmp_path / "runs"
    path.touch()
    monkeypatch.setenv("APT_RUNS", str(path))
    return path


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def _pretend(programs: Path, name: str, script: str) -> None:
    program = programs / name
    program.write_text(f"#!/bin/sh\n{script}")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def test_what_is_on_the_path_is_taken(programs: Path, runs: Path) -> None:
    _pretend(programs, "apt-get", _APT_GET)
    _pretend(programs, "no-such-reader", "")

    assert find_program(WANTED).path == programs / "no-such-reader"
    assert runs.read_text() == ""


def test_packages_are_unpacked_into_the_cache_once(programs: Path, runs: Path, cache: Path) -> None:
    _pretend(programs, "apt-get", _APT_GET)
    _pretend(programs, "dpkg-deb", _DPKG_DEB)

    with ThreadPoolExecutor(3) as threads:
        found = {each.path for each in threads.map(lambda _: find_program(WANTED), range(3))}

    root = cache / "debian-reader/root"
    assert found == {root / "usr/bin/reader"}
    assert (cache / "debian-reader/complete").read_text() == "reader_1.deb\n"
    update, install = runs.read_text().splitlines()
    assert update.endswith(" update")
    assert install.endswith(" install --download-only --yes --no-install-recommends reader fonts-plain")
    assert f"Dir::State={cache}" in install, "nothing of the machine's own is written"
    assert find_program(WANTED).environment == {
        "LD_LIBRARY_PATH": str(root / "usr/lib/machine"),
        "XDG_DATA_HOME": str(root / "usr/share"),
    }


def test_what_is_in_the_cache_needs_no_tools(
    programs: Path, runs: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _pretend(programs, "apt-get", _APT_GET)
    _pretend(programs, "dpkg-deb", _DPKG_DEB)
    first = find_program(WANTED)
    monkeypatch.setenv("PATH", "")

    assert find_program(WANTED) == first
    assert len(runs.read_text().splitlines()) == 2


def test_a_failure_is_told_with_what_apt_said_and_leaves_nothing(programs: Path, runs: Path, cache: Path) -> None:
    _pretend(programs, "apt-get", 'echo "E: Unable to locate package reader"; exit 100')

    with pytest.raises(SandboxError, match="code 100:\n  E: Unable to locate package reader") as caught:
        find_program(WANTED)

    assert "no-such-reader is on the PATH" in str(caught.value.hint)
    assert not (cache / "debian-reader").exists()


def test_packages_without_the_program(programs: Path, runs: Path) -> None:
    _pretend(programs, "apt-get", _APT_GET)
    _pretend(programs, "dpkg-deb", "")

    with pytest.raises(SandboxError, match="expected usr/bin/reader in Debian's reader, fonts-plain, found none"):
        find_program(WANTED)


def test_a_machine_without_apt_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")

    with pytest.raises(SandboxError, match="expected no-such-reader on the PATH, or apt-get") as caught:
        find_program(WANTED)

    assert caught.value.hint == "install reader"


def test_programs_have_folders_of_their_own() -> None:
    assert len({program.directory for program in PROGRAMS.values()}) == len(PROGRAMS)
