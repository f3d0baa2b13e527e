"""Text columns that hold JSON, shown as the parsed value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

import orjson

from cdc_daemon.model.cql_types import CqlType
from cdc_daemon.model.errors import ConfigError, JsonTextError
from cdc_daemon.values.cql_json import Converter, converter


class Bad(Enum):
    """The handling of a text that is not valid JSON."""

    NULL = None
    """The value becomes null."""

    TEXT = "text"
    """The text is kept unchanged."""

    EMPTY = "empty"
    """The value becomes that of a blank text."""

    DEAD_LETTER = "dead_letter"
    """The document is set aside."""


def json_text_converter(column: str, kind: CqlType, *, bad: Bad, empty: Any) -> Converter:
    """Return the converter of a column's value, including null, to the JSON value in its text.

    In a list, set or map of texts each text is parsed; a map's keys stay texts. A blank text becomes `empty`,
    and so does a column without a value. Raises `ConfigError` for a column that holds no texts.
    """
    parse = text_parser(column, bad=bad, empty=empty)
    if kind.name in _TEXTS:
        return lambda value: empty if value is None else parse(value)
    if kind.name in {"list", "set", "map"} and kind.parameters[-1].name in _TEXTS:
        convert = converter(kind, scalars=dict.fromkeys(_TEXTS, parse))
        assert convert is not None
        return lambda value: empty if value is None else convert(value)
    raise ConfigError(
        f"expected a column of text, or of texts in a list, set or map, found {column!r} of type {kind}",
        hint="only texts can hold JSON",
    )


def text_parser(column: str, *, bad: Bad, empty: Any) -> Callable[[str], Any]:
    """Return the parser of one text. The parser raises `JsonTextError` if bad texts are to be set aside."""

    def parse(text: str) -> Any:
        try:
            return orjson.loads(text)
        except ValueError as error:
            if not text or text.isspace():
                return empty
            if bad is Bad.DEAD_LETTER:
                raise JsonTextError(f"expected JSON in column {column!r}, found another text: {error}") from None
            return {Bad.TEXT: text, Bad.EMPTY: empty}.get(bad)

    return parse


def parse_or(text: str, default: Any) -> Any:
    """Return the JSON value of a text, or `default` if the text is not valid JSON."""
    try:
        return orjson.loads(text)
    except ValueError:
        return default


def compact_text(value: Mapping[str, Any] | list[Any] | Any) -> str:
    """Return a JSON value as text without spaces."""
    return orjson.dumps(value).decode()


_TEXTS = ("text", "ascii")
