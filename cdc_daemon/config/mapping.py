"""How the rows of a table become the documents of an index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from cdc_daemon.config.base import ConfigPath, wrong
from cdc_daemon.config.mapping_joins import JoinSettings, LookupSettings
from cdc_daemon.config.mapping_names import (
    Alias,
    DocumentField,
    HookName,
    IdTemplate,
    IndexName,
    RoutingTemplate,
    Table,
)
from cdc_daemon.config.mapping_shape import ShapeSettings
from cdc_daemon.model.signal import TableName

_Body = Mapping[str, Any] | None


class MappingSettings(ShapeSettings):
    """Which table feeds which index, and how a row becomes a document."""

    table: Table
    """The table with its keyspace, such as `sunbird.user`. It needs `cdc = true` in Cassandra."""
    alias: Alias
    """The alias that documents are written through and that searches use."""
    index: IndexName = Field(
        default_factory=lambda data: f"{data.get('alias', '')}-000001".lower(), validate_default=True
    )
    """The index that is created behind the alias when the alias does not exist; `<alias>-000001` when absent."""
    id: IdTemplate | None = None
    """The document's `_id`: key columns in braces, such as `{userid}_{courseid}`. A separator inside a value is
    written with a backslash before it. When absent: the key's columns, joined so that two keys never give one id."""
    routing: RoutingTemplate | None = None
    """The document's shard routing: key columns in braces. When absent: the `_id`."""
    pipeline: str | None = Field(default=None, min_length=1)
    """The ingest pipeline that documents go through in Elasticsearch; that of the index when absent."""
    joins: Mapping[DocumentField, JoinSettings] = Field(default_factory=dict)
    """Child tables whose rows are embedded: document field to child table."""
    lookups: Mapping[str, LookupSettings] = Field(default_factory=dict)
    """Fields taken from the row of another table that a column points to, by a name of your choice."""
    hook: HookName | None = None
    """A Python function, `module:function`, called for each document with the document as built so far, the row and
    the joined rows. What it returns is written; None means no document."""
    field_types: Mapping[str, Mapping[str, Any]] = Field(default_factory=dict)
    """Elasticsearch's mapping of single fields, in place of what the daemon would make of the columns' types."""
    expiring: bool = False
    """Whether rows are written `USING TTL`. It is known anyway from the first such change in the log on, and where the
    table has a `default_time_to_live`; true has also those rows followed that are read before, by a backfill."""
    on_truncate: Literal["remove", "keep", "rebuild"] = "remove"
    """What happens to the documents of a table that is truncated, or dropped and created again: `remove` those whose
    rows are gone; `rebuild` removes them and has the whole table read anew; `keep` leaves them."""
    on_drop: Literal["remove", "keep"] = "keep"
    """What happens to the documents of a table that is dropped: they stay (`keep`) or go (`remove`)."""
    settings: Mapping[str, Any] | None = None
    """The index's settings, used when the daemon creates it."""
    settings_file: ConfigPath | None = None
    """A file (JSON or YAML) that holds the settings."""
    mappings: Mapping[str, Any] | None = None
    """The index's Elasticsearch mapping, used when the daemon creates it. When absent the daemon makes
    one from the columns' types, with `dynamic: strict`."""
    mappings_file: ConfigPath | None = None
    """A file (JSON or YAML) that holds the Elasticsearch mapping."""

    @property
    def joined_tables(self) -> frozenset[TableName]:
        """The tables that are read beside the mapping's own."""
        return frozenset(each.table for each in self._joined)

    @property
    def expiring_tables(self) -> frozenset[TableName]:
        """The tables, of those that are read, whose rows are declared to expire."""
        own = {self.table} if self.expiring else frozenset()
        return frozenset(own | {each.table for each in self._joined if each.expiring})

    @property
    def dependents_fields(self) -> frozenset[str]:
        """The fields by which documents are found that show a row of another table."""
        declared = [each.dependents for each in self._joined if each.dependents is not None]
        return frozenset(each.field for each in declared if each.field is not None)

    @property
    def _joined(self) -> list[JoinSettings | LookupSettings]:
        joins = self.joins.values()
        return [*joins, *self.lookups.values(), *(each for join in joins for each in join.lookups.values())]

    @field_validator("index")
    @classmethod
    def _index_is_not_alias(cls, index: str, info: ValidationInfo) -> str:
        if index == info.data.get("alias"):
            raise wrong("expected an index name other than the alias", hint=f"such as {index}-000001")
        return index

    @field_validator("mappings", "settings")
    @classmethod
    def _only_the_inner_part(cls, value: _Body, info: ValidationInfo) -> _Body:
        if value is not None and "mappings" in value:
            raise wrong(
                f'expected what Elasticsearch takes below "{info.field_name}", not the whole body of a new index',
                hint=f'give the part below "{info.field_name}" only',
            )
        return value

    @field_validator("mappings")
    @classmethod
    def _fields_are_objects(cls, value: _Body) -> _Body:
        if value is not None:
            _check_fields(value, "")
        return value

    @field_validator("field_types")
    @classmethod
    def _types_are_objects(cls, value: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
        for name, field in value.items():
            _check_fields(field, name)
        return value


def _check_fields(mapping: Mapping[str, Any], place: str) -> None:
    """Raise where the fields below a place of an Elasticsearch mapping are not objects by their names."""
    for inner in ("properties", "fields"):
        fields = mapping.get(inner)
        if fields is None:
            continue
        at = ".".join(filter(None, (place, inner)))
        if not isinstance(fields, Mapping):
            raise wrong(f"expected an object of fields in {at}, found {type(fields).__name__}")
        for name, field in fields.items():
            if not isinstance(name, str) or not isinstance(field, Mapping):
                raise wrong(
                    f"expected an object in {at}.{name}, found {type(field).__name__}",
                    hint=f"such as {name}: {{type: keyword}}",
                )
            _check_fields(field, f"{at}.{name}")
