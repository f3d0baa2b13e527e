"""Text for people: external text made safe to display, and suggestions for unknown names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Final

_UNSAFE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
"""Control characters (Unicode's class Cc), line separators, bidirectional controls (UAX #9, 2), the byte-order mark,
and lone surrogates, which no encoding can write."""


def printable(text: str, *, keep: str = "") -> str:
    r"""Return `text` with unsafe characters as escapes such as `\x1b` and `\u202e`. Characters in `keep` stay.

    Unsafe are control characters, bidirectional controls, line separators and lone surrogates. A backslash is
    not escaped, so the result is for display: it cannot always be reversed.
    """
    if text.isprintable():
        return text
    return _UNSAFE.sub(lambda found: found[0] if found[0] in keep else _escape(found[0]), text)


_NAMED: Final = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def _escape(character: str) -> str:
    if character in _NAMED:
        return _NAMED[character]
    number = ord(character)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"


_MOST_NAMES: Final = 60
"""Names that a hint lists at most."""


def nearest_hint(name: str, known: Iterable[str]) -> str:
    """Return a hint with the nearest of the known names, or with all of them if none is near."""
    by_lower = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1)
    if near:
        return f"did you mean {by_lower[near[0]]!r}?"
    listed = sorted(by_lower.values())
    shown = ", ".join(listed[:_MOST_NAMES]) + (", …" if len(listed) > _MOST_NAMES else "")
    return f"known are {shown}" if shown else "there is none"
