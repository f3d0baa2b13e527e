"""Compile the innermost loops: `python -m cdc_daemon.commitlog.building`. Needs Cython and a C compiler, once.

A compiled module is built from its `.pyx`, or from its `.py` with the C types in its `.pxd`. Exit code 0:
built or up to date, or there is no compiler and `--if-possible` was given; 1: the build failed.
"""

from __future__ import annotations

import importlib.util
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from cdc_daemon.commitlog.implementation import COMPILED, MODULES, PACKAGE, SOURCES, STAMP, compiled_path, fingerprint


def missing() -> str | None:
    """Return which requirement is missing; None when there is none."""
    if importlib.util.find_spec("Cython") is None:
        return "Cython"
    if shutil.which(_compiler()[0]) is None:
        return f"a C compiler ({_compiler()[0]})"
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        return "Python's header files"
    return None


def up_to_date() -> bool:
    """Return whether everything is built for this interpreter from the current sources."""
    built = all(compiled_path(module).exists() for module in MODULES) and STAMP.exists()
    return built and STAMP.read_text().strip() == fingerprint()


def build() -> None:
    """Compile every module that has a compiled form. Raises `CalledProcessError` when a compiler fails."""
    stamp = fingerprint()
    COMPILED.mkdir(exist_ok=True)
    STAMP.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="cdc-daemon-build-") as folder:
        for module in MODULES:
            _compile(module, Path(folder))
    STAMP.write_text(stamp + "\n")


def _compile(module: str, folder: Path) -> None:
    c_file = folder / f"{module}.c"
    cython_source = SOURCES / f"{module}.pyx"
    # Annotations are for mypy. They are less exact than the C types in the `.pxd` and would contradict them.
    _run([
        sys.executable, "-m", "cython", "-3", "-X", "annotation_typing=False",
        "--module-name", f"{PACKAGE}.{module}",
        "-o", str(c_file), str(cython_source if cython_source.exists() else SOURCES / f"{module}.py"),
    ])  # fmt: skip
    made = folder / "made.so"
    _run([
        *_compiler(), *shlex.split(sysconfig.get_config_var("CCSHARED") or "-fPIC"), "-O2", "-shared", "-w",
        f"-I{sysconfig.get_paths()['include']}", f"-I{SOURCES}", str(c_file), "-o", str(made),
    ])  # fmt: skip
    # Replaced atomically: a process may be using the older one.
    target = compiled_path(module)
    beside = target.with_name(f".{target.name}")
    shutil.copy(made, beside)
    beside.replace(target)


def _compiler() -> list[str]:
    return shlex.split(sysconfig.get_config_var("CC") or "cc")


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, cwd=SOURCES.parents[1])  # noqa: S603 - nothing in it comes from outside


def main(arguments: list[str]) -> int:
    """Build unless up to date; return the exit code."""
    if up_to_date():
        return 0
    lacking = missing()
    if lacking is not None:
        sys.stderr.write(f"not compiled, the Python modules are used; missing: {lacking}\n")
        return 0 if "--if-possible" in arguments else 1
    try:
        build()
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"not compiled, the Python modules are used: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
