"""Programs that a release runs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from release.errors import ReleaseError


def run(command: Sequence[str], *, folder: Path, more: Mapping[str, str] | None = None) -> str:
    """Run a program and return its output. Raises `ReleaseError` with its output if it fails."""
    ended = subprocess.run(  # noqa: S603  the commands are ours
        list(command),
        cwd=folder,
        env={**os.environ, **(more or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if ended.returncode != 0:
        raise ReleaseError(f"`{' '.join(command)}` failed with exit code {ended.returncode}:\n{ended.stdout.strip()}")
    return ended.stdout.strip()


def git(checkout: Path, *words: str) -> str:
    """Run git and return its output. Raises `ReleaseError`."""
    return run(("git", *words), folder=checkout)
