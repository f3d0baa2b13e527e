"""What is wrong with a configuration file, each mistake with its place, what was expected, and how to mend it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdc_daemon.model.errors import ConfigError

KeyPath = tuple[str | int, ...]
"""The keys and list positions that lead from the top of the file to a value."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: where it is (`line` counts from 1), what was expected and found there, and its mend."""

    path: KeyPath
    message: str
    hint: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        line = "" if self.line is None else f"line {self.line}: "
        place = f"{spell(self.path)}: " if self.path else ""
        return f"{line}{place}{self.message}" + (f" ({self.hint})" if self.hint else "")


class SettingsError(ConfigError):
    """A configuration file cannot be used; `problems` holds every mistake that was found in it."""

    def __init__(self, file: Path | str, problems: Sequence[Problem]) -> None:
        self.file = str(file)
        self.problems = tuple(sorted(problems, key=lambda problem: (problem.line or 0, spell(problem.path))))
        lines = [str(problem) for problem in self.problems]
        message = lines[0] if len(lines) == 1 else "\n  ".join([f"{len(lines)} mistakes", *lines])
        super().__init__(message, file=self.file)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.file, self.problems)


def spell(path: KeyPath) -> str:
    """Write a path as people do: `elasticsearch.hosts[0]`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text
