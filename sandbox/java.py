"""The Java on this machine: which one to run, and the options that servers need on it."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from sandbox.artifacts import ECLIPSE_COMPILER
from sandbox.errors import SandboxError
from sandbox.maven import fetch
from sandbox.runtimes import find_runtime

REQUIRED_VERSION = 17
"""Cassandra 5.0 runs on 11 and 17, Elasticsearch 8.19 on 17 and newer."""

STEADY = ("-XX:+UseSerialGC",)
"""Options for both servers: the serial collector costs the least CPU time in heaps below 1 GB."""

FAST_START = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""Options for short tests: without the optimizing compiler both servers are up in two thirds of the time,
but stay slower under load."""

_EVERYWHERE = (Path("/usr/lib/jvm"), Path("/opt"), Path("/Library/Java/JavaVirtualMachines"))


@functools.cache
def java_home() -> Path:
    """Return the folder of a JDK 17: that of `JAVA_HOME`, of `java` on the PATH, or an installed one.

    Raises SandboxError when there is none.
    """
    found: list[str] = []
    for home in _candidates():
        if not (home / "bin" / "javac").exists():
            continue
        version = _version(home)
        if version == REQUIRED_VERSION:
            return home
        found.append(f"{home} is version {version}")
    raise SandboxError(
        f"expected a JDK {REQUIRED_VERSION}, found {'; '.join(found) or 'no JDK'}",
        hint="install one (Debian: openjdk-17-jdk-headless) or point JAVA_HOME to it",
    )


def _candidates() -> Iterator[Path]:
    if chosen := os.environ.get("JAVA_HOME"):
        yield Path(chosen)
    if on_path := shutil.which("javac"):
        yield Path(on_path).resolve().parent.parent
    for folder in _EVERYWHERE:
        if folder.is_dir():
            yield from sorted(home for home in folder.iterdir() if str(REQUIRED_VERSION) in home.name)
            yield from sorted(folder.glob(f"*{REQUIRED_VERSION}*/Contents/Home"))


def _version(home: Path) -> int:
    answer = subprocess.run([home / "bin" / "java", "-version"], capture_output=True, text=True, check=False)
    match = re.search(r'version "(\d+)', answer.stderr)
    return int(match.group(1)) if match else 0


def java_program(version: int = REQUIRED_VERSION) -> Path:
    """Return the program `java` of a version: that of the JDK 17, or one from a wheel in the cache.

    Raises SandboxError when it cannot be had.
    """
    return java_home() / "bin" / "java" if version == REQUIRED_VERSION else find_runtime(version) / "bin" / "java"


def java_command(
    *,
    heap: str,
    directory: Path,
    options: list[str],
    class_path: list[Path | str],
    version: int = REQUIRED_VERSION,
) -> list[str]:
    """Return the start of a server's command line, up to and without its main class.

    `heap` is in Java's spelling (`768m`, `1g`); crash files and temporary files go to `directory`; `version` is Java's.
    """
    return [
        str(java_program(version)),
        "-Xms128m",
        f"-Xmx{heap}",
        "-XX:-UsePerfData",
        "-XX:+ExitOnOutOfMemoryError",
        f"-XX:ErrorFile={directory}/java-error-%p.log",
        f"-Djava.io.tmpdir={directory}",
        "-Djava.awt.headless=true",
        "-Dfile.encoding=UTF-8",
        *options,
        "-cp",
        os.pathsep.join(str(entry) for entry in class_path),
    ]


def compile_java(*sources: Path, class_path: str, output: Path, classes_for: int = REQUIRED_VERSION) -> None:
    """Compile source files into the folder `output`.

    `classes_for` is the version of Java that the classes on the class path are made for: javac reads none that are
    newer than itself, so Eclipse's compiler reads these. Raises SandboxError with the compiler's messages when it does
    not compile.
    """
    output.mkdir(parents=True, exist_ok=True)
    compiler = [str(java_home() / "bin" / "javac")]
    if classes_for > REQUIRED_VERSION:
        fetch([ECLIPSE_COMPILER])
        (jar,) = ECLIPSE_COMPILER.library.glob("ecj-*.jar")
        level = str(REQUIRED_VERSION)
        compiler = [str(java_program()), "-jar", str(jar), "-source", level, "-target", level, "-nowarn"]
    command = [*compiler, "-proc:none", "-cp", class_path, "-d", str(output), *map(str, sources)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise SandboxError(
            f"the compiler failed on {', '.join(source.name for source in sources)}:\n{result.stderr.strip()}"
        )
