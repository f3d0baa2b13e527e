"""Integers of any length as text and back, in time that does not grow with the square of their length.

A CQL `varint` has no maximum. Python converts at most 4,300 digits (`sys.set_int_max_str_digits`) and raises
`ValueError` beyond, because its own method takes 3 s for 400,000 digits. The limit applies to the whole process. With
a higher one, a single value could block the event loop. This module splits a long number instead, as Python 3.12 does
(`Lib/_pylong.py`).
"""

from __future__ import annotations

import functools
import re
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, Inexact, localcontext
from typing import Any, Final

LONGEST: Final = 65_535
"""Bytes of the longest number that can be converted to text: every key fits (`FBUtilities.MAX_UNSIGNED_SHORT`)."""

LONGEST_TEXT: Final = 157_825
"""Characters of the longest text, sign included: log10(2) * 8 * `LONGEST`."""

PLAIN_BITS: Final = 14_000
"""Bits that Python converts directly: they have fewer than 4,300 digits."""

_PLAIN_DIGITS: Final = 4096
"""Digits that Python converts directly."""

_STEP_BITS: Final = 512
"""Bits that are converted to a `Decimal` in one step."""

_NUMBER: Final = re.compile(r"-?[0-9]{1,157824}")
_EXACT: Final = Context(prec=LONGEST_TEXT, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[Inexact])


def integer_text(value: int) -> str:
    """Return an integer in decimal digits. Raises `ValueError` for one of more than `LONGEST` bytes."""
    if value.bit_length() <= PLAIN_BITS:
        return str(value)
    size = integer_size(value)
    if size > LONGEST:
        raise ValueError(f"expected a whole number of at most {LONGEST:,} bytes, found one of {size:,}")
    with localcontext(_EXACT):
        return str(_decimal(value) if value > 0 else -_decimal(-value))


def parse_integer(text: str) -> int:
    """Parse an integer from decimal digits. Raises `ValueError` for other texts and for longer ones."""
    if not _NUMBER.fullmatch(text):
        raise ValueError("expected a whole number in decimal digits")
    return -_integer(text[1:]) if text[0] == "-" else _integer(text)


def integer_size(value: int) -> int:
    """Return the number of bytes of an integer in two's complement, as Cassandra stores it."""
    return (value if value >= 0 else ~value).bit_length() // 8 + 1


def _decimal(value: int) -> Decimal:
    bits = value.bit_length()
    if bits <= _STEP_BITS:
        return Decimal(value)
    step = (bits - 1) // _STEP_BITS
    level = step.bit_length() - 1
    half = _STEP_BITS << level
    upper = value >> half
    return _decimal(upper) * _power_of_two(level) + _decimal(value - (upper << half))


def _integer(digits: str) -> int:
    if len(digits) <= _PLAIN_DIGITS:
        return int(digits)
    level = ((len(digits) - 1) // _PLAIN_DIGITS).bit_length() - 1
    half = _PLAIN_DIGITS << level
    return _integer(digits[:-half]) * _power_of_ten(level) + _integer(digits[-half:])


@functools.cache
def _power_of_two(level: int) -> Decimal:
    """Return 2 to the power of `_STEP_BITS` << `level`. There are eleven levels."""
    if level == 0:
        return Decimal(1 << _STEP_BITS)
    with localcontext(_EXACT):
        return _power_of_two(level - 1) * _power_of_two(level - 1)


@functools.cache
def _power_of_ten(level: int) -> int:
    """Return 10 to the power of `_PLAIN_DIGITS` << `level`. There are six levels."""
    return 10**_PLAIN_DIGITS if level == 0 else _power_of_ten(level - 1) ** 2


LONGEST_OPERAND: Final = 4200
"""Digits of the longest number in arithmetic. Python's time for products, quotients and the conversion of an integer to
a `Decimal` grows with the square of the digits, and a `varint` may have 38 million."""


def check_operands(*values: Any) -> None:
    """Raise `ValueError` for an integer that is too long for arithmetic."""
    for value in values:
        if isinstance(value, int) and value.bit_length() > PLAIN_BITS:
            raise ValueError(
                f"expected a whole number of at most {LONGEST_OPERAND:,} digits in an expression, "
                f"found one of {integer_size(value):,} bytes"
            )
