"""Programs as Debian packages them, unpacked into the cache: nothing is installed, and no rights are needed."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox.cache import cache_directory, exclusive
from sandbox.errors import SandboxError
from sandbox.maven import silent

_TAIL_LINES = 15
_TOOLS = ("apt-get", "dpkg-deb")


@dataclass(frozen=True, slots=True)
class DebianProgram:
    """A program that may be on the PATH already, and else comes from Debian's packages.

    `commands` are the names to look for on the PATH, `packages` what holds the program, `inside` its place in them.
    """

    name: str
    commands: tuple[str, ...]
    packages: tuple[str, ...]
    inside: str

    @property
    def directory(self) -> Path:
        """The folder in the cache with the packages' files."""
        return cache_directory() / f"debian-{self.name}"

    @property
    def marker(self) -> Path:
        """The file that is there only when all of the packages are; it lists them."""
        return self.directory / "complete"


@dataclass(frozen=True, slots=True)
class Program:
    """A program that can be run: its file, and what its environment needs beside this process's own."""

    path: Path
    environment: Mapping[str, str]


def find_program(wanted: DebianProgram, *, progress: Callable[[str], None] = silent) -> Program:
    """Return the program: the one on the PATH, or the one in the cache, which is filled when it is not there.

    What is there already costs nothing and needs no network. Only packages that this machine lacks are
    downloaded; several processes may ask at once. `progress` gets one line for people at each step.

    Raises SandboxError when it is not on the PATH and cannot be had from Debian.
    """
    for command in wanted.commands:
        if found := shutil.which(command):
            return Program(Path(found), {})
    if not wanted.marker.exists():
        with exclusive(cache_directory() / "debian.lock"):
            if not wanted.marker.exists():
                _download(wanted, progress)
    root = wanted.directory / "root"
    return Program(root / wanted.inside, _environment(root))


def _download(wanted: DebianProgram, progress: Callable[[str], None]) -> None:
    if missing := [tool for tool in _TOOLS if shutil.which(tool) is None]:
        raise SandboxError(
            f"expected {' or '.join(wanted.commands)} on the PATH, or {missing[0]} to get it with, found neither",
            hint=f"install {wanted.name}",
        )
    progress(f"{wanted.name}: downloading from Debian ...")
    began = time.monotonic()
    partial = wanted.directory.with_name(f".{wanted.directory.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    lists, archives, root = partial / "lists", partial / "archives", partial / "root"
    for folder in (lists / "partial", archives / "partial", root):
        folder.mkdir(parents=True)
    apt = _apt_get(partial, lists, archives)
    _run([*apt, "update"], wanted)
    # What is installed is taken as it is: the program uses the machine's own C library and whatever else is there.
    _run([*apt, "install", "--download-only", "--yes", "--no-install-recommends", *wanted.packages], wanted)
    packages = sorted(archives.glob("*.deb"))
    for package in packages:
        _run(["dpkg-deb", "--extract", str(package), str(root)], wanted)
    if not (root / wanted.inside).is_file():
        raise SandboxError(
            f"expected {wanted.inside} in Debian's {', '.join(wanted.packages)}, found none",
            hint=f"install {wanted.name}, so that one of {', '.join(wanted.commands)} is on the PATH",
        )
    shutil.rmtree(lists)
    shutil.rmtree(archives)
    for file in partial.glob("*pkgcache.bin"):
        file.unlink()
    (partial / wanted.marker.name).write_text("\n".join(each.name for each in packages) + "\n", encoding="utf-8")
    shutil.rmtree(wanted.directory, ignore_errors=True)
    partial.rename(wanted.directory)
    progress(f"{wanted.name}: {len(packages)} packages, {time.monotonic() - began:.0f} s")


def _apt_get(partial: Path, lists: Path, archives: Path) -> list[str]:
    """Return apt-get with folders of its own: it reads what is installed, and writes and locks nothing there."""
    options = {
        "Dir::State": partial,
        "Dir::State::lists": lists,
        "Dir::State::status": "/var/lib/dpkg/status",
        "Dir::Cache": partial,
        "Dir::Cache::archives": archives,
        "Dir::Log": partial,
        "Debug::NoLocking": "true",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
    }
    return ["apt-get", "--quiet", *(part for key, value in options.items() for part in ("-o", f"{key}={value}"))]


def _environment(root: Path) -> dict[str, str]:
    """Return the variables by which libraries and fonts are found that are not where they were built for."""
    environment = {}
    if folders := sorted({str(file.parent) for file in root.rglob("lib*.so*")}):
        given = os.environ.get("LD_LIBRARY_PATH")
        environment["LD_LIBRARY_PATH"] = ":".join([*folders, *([given] if given else [])])
    if (root / "usr/share/fonts").exists():
        environment["XDG_DATA_HOME"] = str(root / "usr/share")
    if (root / "etc/fonts/fonts.conf").exists():
        environment["FONTCONFIG_PATH"] = str(root / "etc/fonts")
    return environment


def _run(command: Sequence[str], wanted: DebianProgram) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    result = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        check=False,
    )
    if result.returncode != 0:
        lines = result.stdout.decode(errors="replace").splitlines()
        tail = "\n".join(f"  {line}" for line in lines[-_TAIL_LINES:])
        raise SandboxError(
            f"{wanted.name} cannot be had from Debian, {command[0]} ended with code {result.returncode}:\n{tail}\n",
            hint=f"are Debian's packages reachable? Or install {wanted.name}, so that one of"
            f" {', '.join(wanted.commands)} is on the PATH",
        )
