"""What several checks need of paths and users."""

from __future__ import annotations

import pwd
from pathlib import Path


def is_same(ours: Path, theirs: Path) -> bool:
    """Return whether two paths name the same directory; if one cannot be reached, whether they are spelled alike."""
    try:
        return ours.samefile(theirs)
    except OSError:
        return ours == theirs


def describe_user(uid: int) -> str:
    """Return a user's name and number."""
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"
