"""Which numbers expressions may calculate with: such that no operation stops the event loop."""

from __future__ import annotations

from typing import Any, Final

from cdc_daemon.values.integers import PLAIN_BITS, integer_size

LONGEST_OPERAND: Final = 4200
"""Digits of the longest number in arithmetic. Python's time for products, quotients and the change of a whole number to
a `Decimal` grows with the square of the digits, and a `varint` may have 38 million."""


def check_operands(*values: Any) -> None:
    """Raise `ValueError` for a whole number that is too long to calculate with."""
    for value in values:
        if isinstance(value, int) and value.bit_length() > PLAIN_BITS:
            raise ValueError(
                f"expected a whole number of at most {LONGEST_OPERAND:,} digits in an expression, "
                f"found one of {integer_size(value):,} bytes"
            )
