"""Evaluates a mapping's `where`: the filter that selects the rows to index."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cdc_daemon.model.cql_types import CqlType
from cdc_daemon.model.errors import ConfigError
from cdc_daemon.values.compiler import Evaluate
from cdc_daemon.values.cql_json import Converter, converter, text_of
from cdc_daemon.values.expression import Expression


class Condition:
    """A parsed `where`: `names` are the columns it reads; `compile` binds it to their positions in a row."""

    def __init__(self, names: frozenset[str], compile_: Callable[[Mapping[str, int]], Evaluate]) -> None:
        self.names = names
        self.compile = compile_


def make_condition(place: str, where: str | Mapping[str, Any], types: Mapping[str, CqlType]) -> Condition:
    """Parse `where`: an expression, or required values by column, which must all match.

    Raises `ConfigError` for an unknown column, and for a value that no row can have.
    """
    if isinstance(where, str):
        expression = Expression(where)
        try:
            expression.compile(dict.fromkeys(types, -1))
        except ConfigError as error:
            raise ConfigError(f"in where: {error.message}", hint=error.hint, mapping=place) from None
        return Condition(expression.names, expression.compile)
    wanted = {
        column: [_wanted(place, column, types[column], each) for each in (_listed(value))]
        for column, value in where.items()
        if column in types
    }
    converts = {column: _comparable(types[column]) for column in wanted}

    def compile_(places: Mapping[str, int]) -> Evaluate:
        tests = [(places[column], converts[column], values) for column, values in wanted.items()]

        def evaluate(row: Sequence[Any], _fields: Mapping[str, Any]) -> bool:
            for at, convert, values in tests:
                value = row[at] if at >= 0 else None
                if (value if value is None else convert(value)) not in values:
                    return False
            return True

        return evaluate

    return Condition(frozenset(wanted), compile_)


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else (value,)


_INTEGERS = frozenset(("int", "bigint", "smallint", "tinyint", "counter"))


def _comparable(kind: CqlType) -> Converter:
    if kind.name in {"text", "ascii", "boolean", "float", "double", *_INTEGERS}:
        return lambda value: value
    convert = converter(kind)
    return text_of if convert is None else lambda value: text_of(convert(value))


def _wanted(place: str, column: str, kind: CqlType, value: Any) -> Any:
    """Return a value to compare rows with. A value that no row can have is an error: it would exclude every row."""
    if value is None:
        return None
    fits = isinstance(value, str)
    if kind.name == "boolean":
        fits = isinstance(value, bool)
    elif kind.name in _INTEGERS:
        fits = isinstance(value, int) and not isinstance(value, bool)
    elif kind.name in {"float", "double"}:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
    elif kind.parameters:
        fits = False
    if not fits:
        raise ConfigError(
            f"expected a value of type {kind} for {column!r} in where, found {value!r}",
            hint="compare a collection with an expression, such as 'x' in tags" if kind.parameters else None,
            mapping=place,
        )
    return value
