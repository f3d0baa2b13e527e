"""Mappings: which table feeds which index, and what its documents contain, from rows of other tables too."""

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
from cdc_daemon.config.type_names import FieldsByType
from cdc_daemon.model.document_operation import RemovalMark
from cdc_daemon.model.signal import TableName

_On = Mapping[Column, Column]


class DependentsSettings(SettingsSection):
    """How to find the documents that show a row of another table when that row changes.

    The section is not needed if the key of the row determines which documents show it.
    """

    field: str | None = Field(default=None, min_length=1)
    """The document field that holds the key of the other row, such as `rootOrgId`. It should be a keyword field, or a
    text field with a keyword subfield. A text field alone is searched by words, and may find too many documents."""
    table: Table | None = None
    """A table whose rows list the documents that show the other row. It needs no CDC."""
    on: _On = Field(default_factory=dict)
    """For `table`: for each column of its partition key, the column of the other row with the same value."""
    key: _On = Field(default_factory=dict)
    """For `table`: for each key column of the mapping's table, the column of `table` that holds its value."""
    ignore: bool = False
    """Whether a change of the other row leaves the documents unchanged, until their own row changes."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        ways = [self.field is not None, self.table is not None, self.ignore]
        if sum(ways) != 1:
            raise wrong("expected one of field, table and ignore: true")
        if (self.table is not None) != bool(self.on and self.key) or (self.table is None and (self.on or self.key)):
            raise wrong("expected table, on and key together")
        return self


class LookupSettings(SettingsSection):
    """A lookup: fields from the one row of another table that a column refers to."""

    table: Table
    """The other table, such as `sunbird.organisation`. It needs `cdc = true` in Cassandra."""
    on: _On = Field(min_length=1)
    """For each key column of the other table, the column of this table with the same value, such as
    `{id: rootorgid}`."""
    fields: Mapping[Column, DocumentField] = Field(min_length=1)
    """The columns of the other table that are shown, and the document field of each, such as
    `{orgname: rootOrgName}`."""
    prefix: str = ""
    """A prefix for the names of these fields."""
    dependents: DependentsSettings | None = None
    """How to find the documents that show the other row when it changes."""
    expiring: bool = False
    """Whether rows of the other table are written `USING TTL` (see `expiring` of a mapping)."""


class RemovalMarkSettings(SettingsSection):
    """The fields that mark the document of a removed row, with `on_row_delete: mark`."""

    field: DocumentField = "deleted"
    """The field that is set to true. Documents of rows that exist do not have it."""
    time_field: DocumentField | None = "deleted_at"
    """The field that holds the time at which the document was marked. null: no time is set."""

    @model_validator(mode="after")
    def _fields_are_free(self) -> Self:
        if self.field == self.time_field:
            raise wrong(f"expected two different fields, found {self.field} twice")
        for name in (self.field, self.time_field):
            if name is not None and (name.startswith(("cdc_", "_")) or "." in name):
                raise wrong(
                    f"expected a field of the document itself, found {name}",
                    hint="names that begin with cdc_ or _ are reserved, and a dot would make an object",
                )
        return self


class JoinSettings(ShapeSettings):
    """A join: rows of a child table that are embedded in one field of the document."""

    table: Table
    """The child table, such as `sunbird.user_roles`. It needs `cdc = true` in Cassandra."""
    on: _On = Field(min_length=1)
    """For each column of the child's partition key (and optionally for its first clustering columns), the column of
    this table with the same value, such as `{userid: id}`."""
    form: Literal["list", "map", "first"] = "list"
    """The form of the field: a `list` of the children, a `map` of them by `key`, or only the `first` child."""
    key: Column | None = None
    """For `form: map`: the child's column whose value is the name of the entry. If several children have the same
    value, the last in their order is shown."""
    order: tuple[Column, ...] | None = Field(default=None, min_length=1)
    """The columns that the children are ordered by, with - before a column for descending order. Nulls come last.
    Default: the clustering order."""
    limit: int = Field(default=10_000, ge=1, le=1_000_000)
    """The maximum number of children of a document. A document with more becomes a dead letter."""
    nested: bool = False
    """Whether the field has the type `nested` in the generated mapping of the index, so that each child can be
    searched separately."""
    lookups: Mapping[str, LookupSettings] = Field(default_factory=dict)
    """Lookups of each child in other tables, each by a name of your choice."""
    dependents: DependentsSettings | None = None
    """How to find the documents that show a child when it changes, if the child's key does not determine them."""
    expiring: bool = False
    """Whether children are written `USING TTL` (see `expiring` of a mapping)."""

    @field_validator("key")
    @classmethod
    def _maps_have_keys(cls, key: str | None, info: ValidationInfo) -> str | None:
        if (key is not None) != (info.data.get("form") == "map"):
            raise wrong("expected a key with form: map, and only with it")
        return key

    @model_validator(mode="after")
    def _key_is_given(self) -> Self:
        if self.form == "map" and self.key is None:
            raise wrong("expected a key with form: map, such as the child's first clustering column")
        return self


_Body = Mapping[str, Any] | None


class MappingSettings(ShapeSettings):
    """A mapping: which table feeds which index, and how a row becomes a document."""

    table: Table
    """The table with its keyspace, such as `sunbird.user`. It needs `cdc = true` in Cassandra."""
    alias: Alias
    """The alias that documents are written to and that searches use."""
    index: IndexName = Field(
        default_factory=lambda data: f"{data.get('alias', '')}-000001".lower(), validate_default=True
    )
    """The index that is created behind the alias if the alias does not exist. Default: `<alias>-000001`."""
    id: IdTemplate | None = None
    """The document's `_id`: key columns in braces, such as `{userid}_{courseid}`. A separator inside a value is escaped
    with a backslash. Default: all key columns, joined so that each key has its own `_id`."""
    routing: RoutingTemplate | None = None
    """The document's routing value: key columns in braces. Default: the `_id`."""
    pipeline: str | None = Field(default=None, min_length=1)
    """The ingest pipeline that processes the documents. Default: that of the index."""
    joins: Mapping[DocumentField, JoinSettings] = Field(default_factory=dict)
    """Joins: for each document field, the child table whose rows are embedded in it."""
    lookups: Mapping[str, LookupSettings] = Field(default_factory=dict)
    """Lookups: fields from the row of another table that a column refers to, each lookup by a name of your choice."""
    hook: HookName | None = None
    """A Python function, `module:function`, which is called for each document with the document built so far, the row,
    and the joined rows. The document that it returns is written; None means that there is no document."""
    field_types: Mapping[str, Mapping[str, Any]] = Field(default_factory=dict)
    """The mapping of single fields in the index, which replaces what the daemon derives from the column types."""
    types: FieldsByType = Field(default_factory=dict)
    """The field for values of a CQL type, such as `decimal: {type: scaled_float, scaling_factor: 100}`,
    in a mapping that the daemon generates. They take precedence over the `types` of all mappings."""
    expiring: bool = False
    """Whether rows are written `USING TTL`. The daemon detects this by itself from the first such change in the log,
    and from the table's `default_time_to_live`. Set it if a backfill may read expiring rows before that."""
    on_row_delete: Literal["remove", "mark"] = "remove"
    """What happens to the document of a row that is removed. `remove`: the document is removed. `mark`: it is kept, and
    the fields of `removal_mark` are set. A row that comes back replaces the marked document. The documents of rows that
    `where` or `hook` do not show are removed in both cases."""
    removal_mark: RemovalMarkSettings | None = None
    """The fields that `on_row_delete: mark` sets. Default: `deleted` and `deleted_at`."""
    snapshot: Literal["initial", "never"] = "initial"
    """Whether rows that were there before are copied. `initial`: if the daemon creates the index, it backfills the
    whole table once, in the background. `never`: only changes are written, and backfills that an operator starts."""
    on_index_missing: Literal["rebuild", "wait"] = "rebuild"
    """What happens when the index or its alias is deleted while the daemon runs. `rebuild`: the daemon creates it again
    as declared, and backfills the whole table. `wait`: it waits until the alias exists again."""
    on_truncate: Literal["remove", "keep", "rebuild"] = "remove"
    """What happens to the documents when the table is truncated, or dropped and created again. `remove`: documents
    without a row are removed. `rebuild`: also, the whole table is read again. `keep`: all documents stay."""
    on_drop: Literal["remove", "keep"] = "keep"
    """What happens to the documents when the table is dropped: they stay (`keep`) or are removed (`remove`)."""
    settings: Mapping[str, Any] | None = None
    """The settings of the index, used when the daemon creates it."""
    settings_file: ConfigPath | None = None
    """A file (JSON or YAML) that holds the settings."""
    mappings: Mapping[str, Any] | None = None
    """The mapping of the index, used when the daemon creates it. Default: one that is generated from the
    column types, with `dynamic: strict`."""
    mappings_file: ConfigPath | None = None
    """A file (JSON or YAML) that holds the mapping of the index."""

    @property
    def mark(self) -> RemovalMark | None:
        """The mark of documents whose rows were removed; None if these documents are removed."""
        if self.on_row_delete == "remove":
            return None
        declared = self.removal_mark or RemovalMarkSettings()
        return RemovalMark(declared.field, declared.time_field)

    @property
    def joined_tables(self) -> frozenset[TableName]:
        """The tables that are joined or looked up."""
        return frozenset(each.table for each in self._joined)

    @property
    def expiring_tables(self) -> frozenset[TableName]:
        """The tables, among all that are read, that are declared as `expiring`."""
        own = {self.table} if self.expiring else frozenset()
        return frozenset(own | {each.table for each in self._joined if each.expiring})

    @property
    def dependents_fields(self) -> frozenset[str]:
        """The fields by which the daemon finds the documents that show a row of another table."""
        declared = [each.dependents for each in self._joined if each.dependents is not None]
        return frozenset(each.field for each in declared if each.field is not None)

    @property
    def _joined(self) -> list[JoinSettings | LookupSettings]:
        joins = self.joins.values()
        return [*joins, *self.lookups.values(), *(each for join in joins for each in join.lookups.values())]

    @field_validator("removal_mark")
    @classmethod
    def _mark_is_used(cls, mark: RemovalMarkSettings | None, info: ValidationInfo) -> RemovalMarkSettings | None:
        if mark is not None and info.data.get("on_row_delete") == "remove":
            raise wrong("expected removal_mark only with on_row_delete: mark", hint="add on_row_delete: mark")
        return mark

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
                f'expected the object below "{info.field_name}", not the whole body of a create-index request',
                hint=f'write only the object below "{info.field_name}"',
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
    """Raise unless all fields below this place of an Elasticsearch mapping are objects."""
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
