"""Templates of document ids: text with column names in braces, such as `{userid}_{courseid}`."""

from __future__ import annotations

import string
from typing import NamedTuple


class TemplatePart(NamedTuple):
    """A piece of a template: literal text, followed by the value of a column (none in the last piece)."""

    text: str
    column: str | None


def parse_template(template: str) -> tuple[TemplatePart, ...]:
    """Take a template apart; `{{` and `}}` stand for braces themselves.

    Raises ValueError, whose text says what is wrong, when braces do not match, a pair of braces holds
    anything but a column's name, or no column is named at all.
    """
    try:
        pieces = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"expected matching braces around each column's name ({error})") from None
    for _, column, form, conversion in pieces:
        if form or conversion:
            raise ValueError(f"expected nothing but a column's name in the braces of {{{column}}}")
        if column is not None and not column.strip():
            raise ValueError("expected a column's name in each pair of braces")
    parts = []
    literal = ""
    for text, column, _, _ in pieces:
        literal += text  # an escaped brace ends a piece too
        if column is not None:
            parts.append(TemplatePart(literal, column))
            literal = ""
    if not parts:
        raise ValueError("expected at least one key column in braces, such as {userid}")
    if literal:
        parts.append(TemplatePart(literal, None))
    return tuple(parts)


def template_columns(template: str) -> tuple[str, ...]:
    """Name the columns of a template in their order. Raises ValueError as `parse_template` does."""
    return tuple(part.column for part in parse_template(template) if part.column is not None)
