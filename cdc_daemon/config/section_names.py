"""The other name of a section: `search` in the file is `elasticsearch` in the settings.

The file may use either. Mistakes name the section as the file does.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from cdc_daemon.config.mistakes import Mistake

NAME = "elasticsearch"
"""The name of the section in the settings."""

OTHER_NAME = "search"
"""Its other name in a file."""

_PATH = re.compile(rf"\b{NAME}(?=\.[a-z_]+\b)")
"""The section as the beginning of a path in a hint, such as `did you mean elasticsearch.hosts?`."""


def is_renamed(value: Any) -> bool:
    """Return whether a parsed file uses the other name."""
    return isinstance(value, dict) and OTHER_NAME in value


def rename(value: Any) -> tuple[Any, list[Mistake]]:
    """Return a parsed file with the section under its name in the settings, and a mistake if it has both names."""
    if not is_renamed(value):
        return value, []
    renamed = {NAME if key == OTHER_NAME else key: item for key, item in value.items()}
    if NAME not in value:
        return renamed, []
    both = f"expected either {OTHER_NAME} or {NAME}, which are two names of one section, found both"
    return renamed, [Mistake((NAME,), both, f"move all keys into {OTHER_NAME}")]


def as_written(mistake: Mistake) -> Mistake:
    """Return a mistake in a file that uses the other name, with the section named so."""
    path = (OTHER_NAME, *mistake.path[1:]) if mistake.path[:1] == (NAME,) else mistake.path
    hint = None if mistake.hint is None else _PATH.sub(OTHER_NAME, mistake.hint)
    return replace(mistake, path=path, hint=hint)
