"""The limit for numbers in expressions, so that no operation blocks the event loop."""

from __future__ import annotations

from typing import Any, Final

from cdc_daemon.values.integers import PLAIN_BITS, integer_size

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
