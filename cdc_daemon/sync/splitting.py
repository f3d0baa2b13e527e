"""An id's text taken apart into the parts of a key, by the mapping's template or by the `:` between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from cdc_daemon.config.template import TemplatePart

TRIES = 2000
"""How many ways to take one text apart are looked at: enough for honest ids, and a bound for the others."""

Fits = Callable[[str, str], bool]
"""Tells whether a text is a value of the column."""


def split_by_template(text: str, parts: Sequence[TemplatePart], fits: Fits) -> list[dict[str, str]]:
    """Return the ways, two at most, in which a template with these parts gives the text.

    Only values that fit their columns count, so that a `_` inside of a text is told from one between two UUIDs.
    Raises ValueError when there are too many ways to look at.
    """
    found: list[dict[str, str]] = []
    for values in _ways(text, tuple(parts), fits, _Budget(TRIES)):
        if values not in found:
            found.append(values)
        if len(found) == 2:
            break
    return found


class _Budget:
    def __init__(self, tries: int) -> None:
        self._left = tries

    def spend(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise ValueError("too many ways to take the id apart")


def _ways(text: str, parts: tuple[TemplatePart, ...], fits: Fits, budget: _Budget) -> Iterator[dict[str, str]]:
    if not parts:
        if not text:
            yield {}
        return
    first, *rest = parts
    if not text.startswith(first.text):
        return
    left = text[len(first.text) :]
    if first.column is None:
        if not left and not rest:
            yield {}
        return
    for end in _ends(left, rest):
        budget.spend()
        value = left[:end]
        if not fits(first.column, value):
            continue
        for values in _ways(left[end:], tuple(rest), fits, budget):
            if values.setdefault(first.column, value) == value:
                yield values


def _ends(text: str, rest: Sequence[TemplatePart]) -> Iterator[int]:
    """Tell where a value may end: where the text that follows it in the template begins."""
    if not rest:
        yield len(text)
        return
    following = rest[0].text
    if not following:
        yield from range(len(text) + 1)
        return
    at = text.find(following)
    while at >= 0:
        yield at
        at = text.find(following, at + 1)


def split_by_colons(text: str) -> list[str]:
    r"""Return the parts between the colons; `\:` and `\\` stand for `:` and `\` inside of a part.

    Raises ValueError for any other character after a `\`.
    """
    parts = [""]
    characters = iter(text)
    for character in characters:
        if character == ":":
            parts.append("")
            continue
        if character == "\\":
            character = next(characters, "")  # noqa: PLW2901 -- the escaped one stands for both
            if character not in {":", "\\"}:
                raise ValueError("expected : or \\ after a \\")
        parts[-1] += character
    return parts
