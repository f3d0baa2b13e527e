"""Suggestions for an unknown name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_SHOWN = 60


def nearest_hint(name: str, known: Iterable[str]) -> str:
    """Return a hint with the nearest of the known names, or with all of them if none is near."""
    by_lower = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1)
    if near:
        return f"did you mean {by_lower[near[0]]!r}?"
    listed = sorted(by_lower.values())
    shown = ", ".join(listed[:_SHOWN]) + (", …" if len(listed) > _SHOWN else "")
    return f"known are {shown}" if shown else "there is none to be named"
