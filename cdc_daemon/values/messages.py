"""Values as bounded text for messages, and plain data as JSON: neither function fails on any value."""

from __future__ import annotations

import contextlib
import reprlib
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import orjson

from cdc_daemon.values.integers import PLAIN_BITS, integer_size

LONGEST: Final = 2000
"""Maximum number of characters that `value_text` and `cut` return."""

_DEEPEST: Final = 32
"""Levels of nested data; below them only a text is kept."""


class _Shown(reprlib.Repr):
    """Python's bounded `repr`, with an added limit for the digits of a number."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = 500
        self.maxlevel = 4
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = self.maxfrozenset = 20

    def repr_int(self, x: int, level: int) -> str:
        if x.bit_length() > PLAIN_BITS:
            return f"<whole number of {integer_size(x):,} bytes>"
        return super().repr_int(x, level)


_SHOWN: Final = _Shown()


def value_text(value: Any) -> str:
    """Return a value of any type as text for a message: at most `LONGEST` characters, all encodable in UTF-8."""
    try:
        text = _SHOWN.repr(value)
    except Exception:  # noqa: BLE001 -- a message must not fail on what it is about
        text = f"<{type(value).__name__}>"
    return cut(text)


def error_text(error: BaseException) -> str:
    """Return an error's type and its text, shortened by `cut`: the text may contain a value."""
    try:
        return cut(f"{type(error).__name__}: {error}")
    except Exception:  # noqa: BLE001 -- its arguments may hold a number that Python does not convert
        return type(error).__name__


def cut(text: str, longest: int = LONGEST) -> str:
    """Return at most `longest` characters of a text; lone surrogates, which UTF-8 cannot encode, become `?`."""
    shortened = text if len(text) <= longest else text[: longest - 1] + "…"
    return encodable(shortened)


def encodable(text: str) -> str:
    """Return a text that UTF-8 can encode: lone surrogates become `?`."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="replace").decode()
    return text


def json_bytes(content: Any, *, option: int = 0) -> bytes:
    """Encode plain data as JSON with `orjson`; values without a JSON form become text."""
    with contextlib.suppress(TypeError, RecursionError):  # orjson.JSONEncodeError is a TypeError
        return orjson.dumps(content, default=str, option=option)
    return orjson.dumps(_plain(content, 0), option=option)


def _plain(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**64 else value_text(value)
    if depth < _DEEPEST and isinstance(value, Mapping):
        return {_name(name): _plain(each, depth + 1) for name, each in value.items()}
    if depth < _DEEPEST and isinstance(value, list | tuple):
        return [_plain(each, depth + 1) for each in value]
    if isinstance(value, Decimal | datetime):
        return str(value)
    return value_text(value)


def _name(name: Any) -> str:
    return encodable(name) if isinstance(name, str) else value_text(name)
