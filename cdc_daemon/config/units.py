"""Durations and sizes in the configuration: a number with its unit, such as `500ms` and `4MiB`.

Pydantic's `ByteSize` and `timedelta` are not used: they accept a number without a unit, and `ByteSize` also accepts
units in the wrong case and fractions of a byte.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer, ValidationInfo, WithJsonSchema

from cdc_daemon.config.base import REFERENCE_PATTERN, wrong

_NUMBER = r"\d+(?:\.\d+)?"
_NUMBER_WITH_UNIT = re.compile(rf"\s*({_NUMBER})\s*([A-Za-z]+)\s*", re.ASCII)

DURATION_UNITS = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}
"""Seconds in each unit of a duration."""

SIZE_UNITS = {
    "B": 1,
    "kB": 1000,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "TB": 1000**4,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
    "TiB": 1024**4,
}
"""Bytes in each unit of a size: powers of 1024 in units with an `i`, powers of 1000 in the others (IEC 80000-13)."""

_LONGEST = Decimal(86400 * 3650)
_LARGEST = 2**63 - 1


def parse_duration(text: str) -> float:
    """Return the seconds of a duration such as `500ms`, `2s`, `1.5m`, `1h` or `7d`.

    Raises ValueError with a message for the user.
    """
    number, unit = _split(text, "a duration such as 500ms, 2s, 1m, 1h or 7d", list(DURATION_UNITS))
    seconds = number * DURATION_UNITS[unit]
    if seconds > _LONGEST:
        raise ValueError("expected a duration of at most ten years")
    return float(seconds)


def parse_size(text: str) -> int:
    """Return the bytes of a size such as `512KiB`, `4MB` or `64MiB`.

    Raises ValueError with a message for the user.
    """
    number, unit = _split(text, "a size such as 512KiB, 4MB or 64MiB", list(SIZE_UNITS))
    size = number * SIZE_UNITS[unit]
    if size > _LARGEST:
        raise ValueError("expected a size of less than 8 EiB")
    if size != int(size):
        raise ValueError("expected a whole number of bytes")
    return int(size)


def format_duration(seconds: float) -> str:
    """Format a duration, given in seconds, in the largest unit in which it is a whole number."""
    exact = Decimal(repr(float(seconds)))
    for unit in reversed(DURATION_UNITS):
        count = exact / DURATION_UNITS[unit]
        if exact and count == count.to_integral_value():
            return f"{int(count)}{unit}"
    return f"{(exact * 1000).normalize():f}ms" if exact else "0s"


def format_size(size: int) -> str:
    """Format a size, given in bytes, in the largest unit in which it is a whole number."""
    for unit in ("TiB", "GiB", "MiB", "KiB", "TB", "GB", "MB", "kB"):
        if size and size % SIZE_UNITS[unit] == 0:
            return f"{size // SIZE_UNITS[unit]}{unit}"
    return f"{size}B"


def _split(text: str, expected: str, units: list[str]) -> tuple[Decimal, str]:
    match = _NUMBER_WITH_UNIT.fullmatch(text)
    if match is None:
        raise ValueError(f"expected {expected}")
    number, unit = match.groups()
    if unit not in units:
        raise ValueError(f"expected {expected}; the units are {', '.join(units)}")
    return Decimal(number), unit


def _read_duration(value: object, info: ValidationInfo) -> object:
    if isinstance(value, str):
        try:
            return parse_duration(value)
        except ValueError as error:
            raise wrong(str(error), hint=_duration_hint(value)) from None
    if isinstance(value, bool) or not isinstance(value, int | float) or info.context is not None:
        raise wrong("expected a duration such as 500ms, 2s, 1m, 1h or 7d", hint=_duration_hint(value))
    return value


def _read_size(value: object, info: ValidationInfo) -> object:
    if isinstance(value, str):
        try:
            return parse_size(value)
        except ValueError as error:
            raise wrong(str(error), hint=_size_hint(value)) from None
    if isinstance(value, bool) or not isinstance(value, int) or info.context is not None:
        raise wrong("expected a size such as 512KiB, 4MB or 64MiB", hint=_size_hint(value))
    return value


def _duration_hint(value: object) -> str | None:
    if not re.fullmatch(rf"\s*{_NUMBER}\s*", str(value), re.ASCII):
        return None
    number = str(value).strip()
    return f"write the unit: {number}s for seconds, {number}ms for milliseconds"


def _size_hint(value: object) -> str | None:
    number = str(value).strip()
    if not re.fullmatch(r"\d{1,18}", number, re.ASCII):
        return None
    return f"write the unit: {number}B for bytes, which is {format_size(int(number))}"


DURATION_PATTERN = rf"^\s*{_NUMBER}\s*({'|'.join(DURATION_UNITS)})\s*$|{REFERENCE_PATTERN}"
"""The pattern of a duration in the JSON Schema."""

SIZE_PATTERN = rf"^\s*{_NUMBER}\s*({'|'.join(SIZE_UNITS)})\s*$|{REFERENCE_PATTERN}"
"""The pattern of a size in the JSON Schema."""

_DURATION_SCHEMA = WithJsonSchema(
    {
        "type": "string",
        "pattern": DURATION_PATTERN,
        "examples": ["500ms", "2s", "1m", "1h", "7d"],
    }
)
_SIZE_SCHEMA = WithJsonSchema(
    {
        "type": "string",
        "pattern": SIZE_PATTERN,
        "examples": ["512KiB", "4MB", "64MiB"],
    }
)

_DURATION_TEXT = PlainSerializer(format_duration, return_type=str, when_used="json")

Duration = Annotated[float, BeforeValidator(_read_duration), Field(gt=0), _DURATION_SCHEMA, _DURATION_TEXT]
"""Seconds, more than zero. A configuration file must write the unit; Python code may pass a number."""

DurationOrZero = Annotated[float, BeforeValidator(_read_duration), Field(ge=0), _DURATION_SCHEMA, _DURATION_TEXT]
"""Seconds, zero allowed. A configuration file must write the unit; Python code may pass a number."""

ByteSize = Annotated[
    int,
    BeforeValidator(_read_size),
    Field(gt=0),
    _SIZE_SCHEMA,
    PlainSerializer(format_size, return_type=str, when_used="json"),
]
"""Bytes, more than zero. A configuration file must write the unit; Python code may pass a number."""
