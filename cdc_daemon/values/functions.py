"""The functions that expressions may call. They do not depend on time or chance: equal rows give equal results."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from cdc_daemon.values.cql_json import compact_text, json_value, parse_or, text_of
from cdc_daemon.values.dates import date_format
from cdc_daemon.values.integers import LONGEST_OPERAND, check_operands


class Function(NamedTuple):
    """A function, and its result as documentation text.

    It is called with null only if it `takes_null`; any other returns null for a null first argument.
    """

    call: Callable[..., Any]
    gives: str
    takes_null: bool = False
    is_boolean: bool = False


def _is_blank(value: Any) -> bool:
    if value is None:
        return True
    if isinstance(value, str):
        return not value.strip()
    return hasattr(value, "__len__") and len(value) == 0


def _has_bits(value: int | None, mask: int) -> bool:
    return value is not None and value & mask == mask


def _text(value: Any) -> str:
    return text_of(json_value(value))


def _number(value: Any, default: Any = None) -> Any:
    if isinstance(value, int):
        return _plain_number(value, default)
    try:
        found = Decimal(value.strip() if isinstance(value, str) else value)
    except (ArithmeticError, ValueError, TypeError):
        return default
    if not found.is_finite():
        return default
    return int(found) if abs(found) < 2**63 and found == found.to_integral_value() else float(found)


def _plain_number(value: int, default: Any) -> Any:
    # Without a Decimal: that conversion takes time that grows with the square of the digits.
    try:
        return int(value) if abs(value) < 2**63 else float(value)
    except OverflowError:
        return default


def _round(value: Any, digits: int | None = None) -> Any:
    if isinstance(value, Decimal) and digits is None and value.is_finite() and value.adjusted() > LONGEST_OPERAND:
        raise ValueError(f"expected a number of at most {LONGEST_OPERAND:,} digits, found 10^{value.adjusted():,}")
    return round(value) if digits is None else round(value, digits)


def _join(values: Iterable[Any], separator: str) -> str:
    return separator.join(_text(value) for value in values if value is not None)


def _unique(values: Iterable[Any]) -> list[Any]:
    found: dict[str, Any] = {}
    for value in values:
        found.setdefault(_text(value), value)
    return list(found.values())


def _last(values: Iterable[Any]) -> Any:
    listed = list(values)
    return listed[-1] if listed else None


def _sha256(value: Any) -> str:
    return hashlib.sha256(_text(value).encode("utf-8", "surrogatepass")).hexdigest()


def _without_nulls(values: Iterable[Any]) -> list[Any]:
    known = [value for value in values if value is not None]
    if any(isinstance(value, Decimal) for value in known):
        check_operands(*known)
    return known


FUNCTIONS: Mapping[str, Function] = {
    "all": Function(all, "whether all of a list are true", is_boolean=True),
    "any": Function(any, "whether any of a list is true", is_boolean=True),
    "bits": Function(_has_bits, "whether each bit of a mask is set in a number", takes_null=True, is_boolean=True),
    "blank": Function(_is_blank, "whether it is null, only space, or empty", takes_null=True, is_boolean=True),
    "coalesce": Function(
        lambda *values: next((value for value in values if value is not None), None),
        "the first that is not null",
        takes_null=True,
    ),
    "date": Function(lambda value, pattern: date_format(pattern)(value), "a timestamp or date by a pattern"),
    "ends": Function(str.endswith, "whether a text ends with another", is_boolean=True),
    "first": Function(lambda values: next(iter(values), None), "the first of a list"),
    "join": Function(_join, "the texts of a list, with a separator between them"),
    "json": Function(lambda value, default=None: parse_or(value, default), "what a text holds as JSON, or a default"),
    "json_text": Function(lambda value: compact_text(json_value(value)), "the value as JSON in a text"),
    "keys": Function(list, "the keys of a map"),
    "last": Function(_last, "the last of a list"),
    "length": Function(len, "how many characters or elements there are"),
    "lower": Function(str.lower, "the text in lower case"),
    "max": Function(lambda values: max(_without_nulls(values), default=None), "the greatest of a list"),
    "min": Function(lambda values: min(_without_nulls(values), default=None), "the least of a list"),
    "number": Function(_number, "the number that a text holds, or a default"),
    "replace": Function(str.replace, "the text with each of one text replaced by another"),
    "round": Function(_round, "the number rounded, to so many digits after the point where they are given"),
    "sha256": Function(_sha256, "the SHA-256 of a value's text, in hexadecimal"),
    "sort": Function(lambda values: sorted(_without_nulls(values)), "the list in ascending order"),
    "split": Function(str.split, "the parts of a text between separators"),
    "starts": Function(str.startswith, "whether a text starts with another", is_boolean=True),
    "sum": Function(lambda values: sum(_without_nulls(values)), "the sum of a list"),
    "text": Function(_text, "the text of a value, as ids have it"),
    "trim": Function(str.strip, "the text without space at its ends"),
    "unique": Function(_unique, "the list without repetitions, in its order"),
    "upper": Function(str.upper, "the text in upper case"),
    "values": Function(lambda entries: list(entries.values()), "the values of a map"),
}
"""The functions that expressions may call, by name. Nulls are removed from lists if they have no meaning there."""
