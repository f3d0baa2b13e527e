"""What documents show of other tables' rows: embedded children, looked-up fields, and who depends on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from cdc_daemon.config.base import ConfigPath, SettingsSection, wrong
from cdc_daemon.config.mapping_names import (
    Alias,
    Column,
    DocumentField,
    HookName,
    IdTemplate,
    IndexName,
    RoutingTemplate,
    Table,
)
from cdc_daemon.config.mapping_shape import ShapeSettings
from cdc_daemon.model.signal import TableName

_On = Mapping[Column, Column]


class DependentsSettings(SettingsSection):
    """How the documents are found that show a row of another table, when that row has changed.

    Where the row's key tells which documents show it, nothing has to be declared.
    """

    field: str | None = Field(default=None, min_length=1)
    """A field of the documents that holds the other row's key, such as `rootOrgId`: a keyword, or a text with a keyword
    below it (a text alone is searched by its words, and may find too many)."""
    table: Table | None = None
    """A table whose rows say which documents show the other row. Its own changes need not be seen."""
    on: _On = Field(default_factory=dict)
    """For `table`: each column of its partition key to the column of the other row that it equals."""
    key: _On = Field(default_factory=dict)
    """For `table`: each key column of the documents' table to the column of `table` that holds it."""
    ignore: bool = False
    """Whether documents are left as they are when the other row changes, until they change themselves."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        ways = [self.field is not None, self.table is not None, self.ignore]
        if sum(ways) != 1:
            raise wrong("expected one of field, table and ignore: true")
        if (self.table is not None) != bool(self.on and self.key) or (self.table is None and (self.on or self.key)):
            raise wrong("expected table, on and key together")
        return self


class LookupSettings(SettingsSection):
    """Fields taken from the one row of another table that a column points to."""

    table: Table
    """The other table, such as `sunbird.organisation`. It needs `cdc = true` in Cassandra."""
    on: _On = Field(min_length=1)
    """Each key column of the other table to the column here that it equals, such as `{id: rootorgid}`."""
    fields: Mapping[Column, DocumentField] = Field(min_length=1)
    """Columns of the other table to the fields they become, such as `{orgname: rootOrgName}`."""
    prefix: str = ""
    """Put before the name of each of these fields."""
    dependents: DependentsSettings | None = None
    """How the documents are found that show the other row, when it has changed."""
    expiring: bool = False
    """Whether the other table's rows are written `USING TTL`, as `expiring` of a mapping says of its own table."""


class JoinSettings(ShapeSettings):
    """Rows of a child table, embedded in the document under one field."""

    table: Table
    """The child table, such as `sunbird.user_roles`. It needs `cdc = true` in Cassandra."""
    on: _On = Field(min_length=1)
    """Each column of the child's partition key (and, if need be, the first clustering columns) to the column here
    that it equals, such as `{userid: id}`."""
    form: Literal["list", "map", "first"] = "list"
    """A `list` of the children, a `map` of them by `key`, or only the `first`."""
    key: Column | None = None
    """For a map: the child's column whose text is an entry's name. Of children with the same one the last is shown, in
    their order."""
    order: tuple[Column, ...] | None = Field(default=None, min_length=1)
    """Columns that the children are ordered by, with - before those in descending order; in the order of their
    clustering when absent. Nulls come last."""
    limit: int = Field(default=10_000, ge=1, le=1_000_000)
    """The most children that one document may have; one with more is set aside."""
    nested: bool = False
    """Whether the generated Elasticsearch mapping is `nested`, so that searches see each child by itself."""
    lookups: Mapping[str, LookupSettings] = Field(default_factory=dict)
    """Fields that each child takes from other tables, by a name of your choice."""
    dependents: DependentsSettings | None = None
    """How the documents are found that show a child, when the child's key does not tell it."""
    expiring: bool = False
    """Whether children are written `USING TTL`, as `expiring` of a mapping says of its own table."""

    @field_validator("key")
    @classmethod
    def _maps_have_keys(cls, key: str | None, info: ValidationInfo) -> str | None:
        if (key is not None) != (info.data.get("form") == "map"):
            raise wrong("expected a key for form: map, and for no other")
        return key

    @model_validator(mode="after")
    def _key_is_given(self) -> Self:
        if self.form == "map" and self.key is None:
            raise wrong("expected a key for form: map, such as the child's first clustering column")
        return self


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
