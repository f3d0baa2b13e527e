"""External text, made safe to display: no character of it can control a terminal or reorder a line."""

from __future__ import annotations

import re
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
