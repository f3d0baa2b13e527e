"""The `_id` of a document: built from the key's columns only, so that a deleted row still has one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from cdc_daemon.commitlog.schema import TableMetadata
from cdc_daemon.config.mapping_names import parse_template
from cdc_daemon.model.errors import ConfigError
from cdc_daemon.values.cql_json import key_converter

IDENTITY_LIMIT = 512
"""Maximum length of an `_id` in bytes (Elasticsearch documentation of the `_id` field)."""

HASHED = "sha256:"
"""Prefix of an `_id` that is a hash, because its readable form is too long."""


class _Part(NamedTuple):
    """A piece of an `_id`: literal text, then a key column's value.

    `at` is the column's position in the key, or None for a literal only. `escaped` are the characters to escape with a
    backslash inside the value, because one of them ends it.
    """

    literal: str
    at: int | None
    convert: Callable[[Any], str]
    escaped: str


class Identity:
    r"""Builds the `_id` of a table's rows, with or without a template such as `{userid}_{courseid}`.

    Different values of the named columns give different `_id`s: in a value, a backslash and the first character of
    the literal after it are escaped with a backslash. Without a template a single key column is used as the `_id`
    unchanged; several are joined by `:`, with `\` and `:` escaped in each.
    Raises `ConfigError` for a template that names columns outside the key.
    """

    def __init__(self, table: TableMetadata, template: str | None) -> None:
        columns = (*table.partition_key, *table.clustering)
        self.columns: tuple[str, ...] = tuple(column.name for column in columns)
        converts = [key_converter(column.type) for column in columns]
        if template is not None:
            self._parts = _template_parts(template, table, self.columns, converts)
        elif len(columns) == 1:
            self._parts = [_Part("", 0, converts[0], "")]
        else:
            self._parts = [_Part(":" if at else "", at, convert, "\\:") for at, convert in enumerate(converts)]
        self._only = converts[0] if self._parts == [_Part("", 0, converts[0], "")] else None
        self._leading = _leading(self._parts, len(table.partition_key))

    @property
    def names_whole_key(self) -> bool:
        """Whether each key has a unique `_id`."""
        return {part.at for part in self._parts} >= set(range(len(self.columns)))

    def of(self, key: Sequence[Any]) -> str:
        """Return the readable `_id` for the values of the key's columns, partition key first."""
        if self._only is not None:
            return self._only(key[0])
        return "".join(
            [
                literal if at is None else literal + _escape(convert(key[at]), escaped)
                for literal, at, convert, escaped in self._parts
            ]
        )

    def parse(self, identity: str) -> dict[str, str] | None:
        """Parse a readable `_id` into the text of each named column. None if the `_id` does not match the template."""
        return self._split(identity, self._parts)

    def parse_partition(self, identity: str) -> dict[str, str] | None:
        """Parse the beginning of a readable `_id` that holds the partition key only.

        None if it does not match, or if the template does not begin with the partition key.
        """
        return None if self._leading is None else self._split(identity, self._leading)

    def _split(self, identity: str, parts: Sequence[_Part]) -> dict[str, str] | None:
        found: dict[str, str] = {}
        rest = identity
        suffix = parts[-1].literal if parts[-1].at is None else ""
        if suffix:
            if not rest.endswith(suffix):
                return None
            rest = rest[: -len(suffix)]
        for part in parts:
            if part.at is None:
                continue
            if not rest.startswith(part.literal):
                return None
            value, rest = _read_value(rest[len(part.literal) :], part.escaped)
            if found.setdefault(self.columns[part.at], value) != value:
                return None
        return None if rest else found


def short_id(readable: str) -> str:
    """Return the `_id` sent to Elasticsearch: the readable one, or its hash if it is longer than 512 bytes.

    A readable `_id` that looks like such a hash is hashed too, so that two keys cannot collide.
    """
    fits = len(readable) * 4 <= IDENTITY_LIMIT or len(readable.encode("utf-8", "surrogatepass")) <= IDENTITY_LIMIT
    if fits and not readable.startswith(HASHED):
        return readable
    return HASHED + hashlib.sha256(readable.encode("utf-8", "surrogatepass")).hexdigest()


class KeyTemplate:
    """Text built from key columns that need not be unique: a routing value.

    Raises `ConfigError` for a template that names columns outside the key.
    """

    def __init__(self, table: TableMetadata, template: str, *, what: str) -> None:
        columns = (*table.partition_key, *table.clustering)
        names = [column.name for column in columns]
        parts = _named_parts(template, table, names, what)
        self._parts = [(text, None if at is None else at, key_converter(columns[at or 0].type)) for text, at in parts]

    def of(self, key: Sequence[Any]) -> str:
        """Return the text for the values of the key's columns."""
        return "".join([text if at is None else text + convert(key[at]) for text, at, convert in self._parts])


def _template_parts(
    template: str, table: TableMetadata, names: Sequence[str], converts: Sequence[Callable[[Any], str]]
) -> list[_Part]:
    parts = _named_parts(template, table, names, "the id's template")
    made = []
    for number, (text, at) in enumerate(parts):
        following = parts[number + 1] if number + 1 < len(parts) else ("", None)
        escaped = f"\\{following[0][0]}" if following[0] and following[1] is not None else ""
        made.append(_Part(text, at, converts[at or 0], escaped))
    return made


def _leading(parts: Sequence[_Part], depth: int) -> Sequence[_Part] | None:
    """Return the leading parts that name the `depth` columns of the partition key, if other parts follow."""
    for length in range(1, len(parts)):
        if {part.at for part in parts[:length]} == set(range(depth)):
            return parts[:length]
    return None


def _named_parts(template: str, table: TableMetadata, names: Sequence[str], what: str) -> list[tuple[str, int | None]]:
    parts = parse_template(template)
    foreign = [part.column for part in parts if part.column is not None and part.column not in names]
    if foreign:
        raise ConfigError(
            f"expected only key columns in {what} ({', '.join(names)}), found {', '.join(foreign)}",
            hint="after a row is deleted, its document must be found by the row's key alone",
            table=str(table),
        )
    return [(part.text, None if part.column is None else names.index(part.column)) for part in parts]


def _escape(text: str, escaped: str) -> str:
    for character in escaped:
        if character in text:
            text = text.replace(character, "\\" + character)
    return text


def _read_value(text: str, escaped: str) -> tuple[str, str]:
    """Read a value up to its end character. Return the unescaped value and the remaining text."""
    if not escaped:
        return text, ""
    value = []
    at = 0
    while at < len(text):
        if text[at] == "\\" and text[at + 1 : at + 2] in tuple(escaped):
            value.append(text[at + 1])
            at += 2
        elif text[at] == escaped[1]:
            break
        else:
            value.append(text[at])
            at += 1
    return "".join(value), text[at:]
