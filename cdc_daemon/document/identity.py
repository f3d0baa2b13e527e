"""The `_id` of a document: made from the key's columns alone, so that a row that is gone still has one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cdc_daemon.commitlog.schema import TableMetadata
from cdc_daemon.config.template import parse_template
from cdc_daemon.document.values import key_converter
from cdc_daemon.errors import ConfigError

IDENTITY_LIMIT = 512
"""Bytes that Elasticsearch takes of an `_id` (documentation of the `_id` field)."""


class Identity:
    r"""Makes the `_id` of a table's rows, by a template such as `{userid}_{courseid}` or without one.

    Without a template a single key column is the `_id` as it is; several are joined by `:` with `\` and
    `:` inside a value escaped by `\`, so that no two keys give the same `_id`.
    Raises `ConfigError` for a template that names other columns than the key's.
    """

    def __init__(self, table: TableMetadata, template: str | None) -> None:
        columns = (*table.partition_key, *table.clustering)
        names = [column.name for column in columns]
        converts = {column.name: key_converter(column.type) for column in columns}
        if template is not None:
            parts = parse_template(template)
            foreign = [part.column for part in parts if part.column is not None and part.column not in names]
            if foreign:
                raise ConfigError(
                    f"expected only key columns in the id's template ({', '.join(names)}), found {', '.join(foreign)}",
                    hint="a document must be found again when nothing but its row's key is left",
                    table=str(table),
                )
            self._parts = [
                (part.text, names.index(part.column) if part.column else None, converts.get(part.column or ""))
                for part in parts
            ]
        self._template = template
        self._converts: Sequence[Callable[[Any], str]] = [converts[name] for name in names]

    def of(self, key: Sequence[Any]) -> str:
        """Return the `_id` for the values of the key's columns, partition key first."""
        if self._template is not None:
            return "".join(
                text if at is None or convert is None else text + convert(key[at]) for text, at, convert in self._parts
            )
        if len(self._converts) == 1:
            return self._converts[0](key[0])
        return ":".join(_escape(convert(value)) for convert, value in zip(self._converts, key, strict=True))


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace(":", "\\:")
