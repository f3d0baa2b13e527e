"""Choose one of two equivalent implementations of the innermost loops: Python or compiled.

`cdc_daemon.commitlog.building` compiles them; it needs a C compiler and is optional. Compiled modules are used only
when they fit: built for this interpreter, from exactly the sources beside them. The environment variable
CDC_DAEMON_COMMITLOG decides: `python`, `compiled`, or `auto`, the default, which uses the compiled modules when they
fit. Both implementations pass the same tests.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Final

from cdc_daemon.model.errors import ConfigError

VARIABLE: Final = "CDC_DAEMON_COMMITLOG"
PACKAGE: Final = "cdc_daemon.commitlog"
MODULES: Final = ("layout", "native", "update_decoder", "vint")
"""The modules that have a compiled form."""
SOURCES: Final = Path(__file__).parent
COMPILED: Final = SOURCES / "compiled"
"""Directory of the compiled modules, separate from the sources, so that they are imported only when chosen."""
STAMP: Final = COMPILED / "sources.sha256"
"""File with the fingerprint of the sources that the compiled modules were built from."""


@dataclass(frozen=True, slots=True)
class Implementation:
    """The chosen implementation, and the reason."""

    compiled: bool
    reason: str

    def __str__(self) -> str:
        return f"{'compiled' if self.compiled else 'python'} ({self.reason})"


def compiled_path(module: str) -> Path:
    """Return the path of a module's compiled form for this interpreter, whether built or not."""
    return COMPILED / f"{module}{EXTENSION_SUFFIXES[0]}"


def fingerprint() -> str:
    """Return a digest of the sources of the compiled modules and of the way they are built."""
    digest = hashlib.sha256()
    for path in sorted(filter(_is_source, SOURCES.iterdir())):
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)} ".encode() + content)
    return digest.hexdigest()


def _is_source(path: Path) -> bool:
    """Return whether the compiled modules depend on a file: any of them may include or declare for any other."""
    if path.suffix == ".py":
        return path.stem in (*MODULES, "building")
    return path.suffix in {".pyx", ".pxd", ".pxi", ".h", ".c"}


def choose(wanted: str) -> Implementation:
    """Choose by the variable's value. Raises `ConfigError` when the choice is unavailable or the value invalid."""
    if wanted not in {"", "auto", "python", "compiled"}:
        raise ConfigError(
            f"expected {VARIABLE} to be auto, python or compiled, found {wanted!r}", hint="auto is the default"
        )
    if wanted == "python":
        return Implementation(compiled=False, reason=f"{VARIABLE}=python")
    lacking = _lacking()
    if lacking is None:
        return Implementation(compiled=True, reason=f"{VARIABLE}=compiled" if wanted == "compiled" else "built")
    if wanted == "compiled":
        raise ConfigError(
            f"expected compiled modules, as {VARIABLE} wants, found {lacking}",
            hint="python -m cdc_daemon.commitlog.building makes them",
        )
    return Implementation(compiled=False, reason=lacking)


def _lacking() -> str | None:
    """Return why the compiled modules cannot be used; None when they can."""
    if not all(compiled_path(module).exists() for module in MODULES) or not STAMP.exists():
        return "not built for this interpreter"
    if STAMP.read_text().strip() != fingerprint():
        return "built from other sources than these"
    return None


@cache
def implementation() -> Implementation:
    """Return the implementation that runs in this process. Raises `ConfigError` as `choose` does."""
    return choose(os.environ.get(VARIABLE, ""))


class _Finder:
    """Finds the compiled modules instead of their sources when they are chosen."""

    def find_spec(
        self, name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, module = name.rpartition(".")
        if package != PACKAGE or module not in MODULES or not implementation().compiled:
            return None
        path = str(compiled_path(module))
        return importlib.util.spec_from_file_location(name, path, loader=ExtensionFileLoader(name, path))


def install() -> None:
    """Install the finder that imports the modules as chosen. Call it before any of them is imported.

    An unavailable choice is an error only when the first of them is imported, so that they can be built.
    """
    sys.meta_path.insert(0, _Finder())
