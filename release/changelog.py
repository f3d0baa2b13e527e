"""CHANGELOG.md: the changes of a release become its section."""

from __future__ import annotations

import re
from typing import Final

from release.errors import ReleaseError

UNRELEASED: Final = "## [Unreleased]\n"


def move(text: str, version: str, date: str) -> str:
    """Return the changelog with what is unreleased as the section of a version. Raises `ReleaseError`."""
    if text.count(UNRELEASED) != 1:
        raise ReleaseError(f"expected the line `{UNRELEASED.strip()}` once in CHANGELOG.md")
    if f"## [{version}]" in text:
        raise ReleaseError(f"CHANGELOG.md has a section of {version} already")
    head, _, rest = text.partition(UNRELEASED)
    if "\n- " not in _first_section(rest):
        raise ReleaseError("CHANGELOG.md has no unreleased changes")
    return f"{head}{UNRELEASED}\n## [{version}] - {date}\n{rest}"


def notes(text: str, version: str) -> str:
    """Return the section of a version, without its heading. Raises `ReleaseError`."""
    found = re.search(rf"^## \[{re.escape(version)}\].*\n", text, re.MULTILINE)
    if not found:
        raise ReleaseError(f"CHANGELOG.md has no section of {version}")
    return _first_section(text[found.end() :]).strip() + "\n"


def _first_section(text: str) -> str:
    return re.split(r"^## ", text, maxsplit=1, flags=re.MULTILINE)[0]
