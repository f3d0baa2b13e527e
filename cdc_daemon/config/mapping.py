"""How the rows of a table become the documents of an index."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from cdc_daemon.config.base import ConfigPath, Section, wrong
from cdc_daemon.config.template import template_columns
from cdc_daemon.pipeline.signal import TableName

_TABLE = re.compile(r"(\w{1,48})\.(\w{1,222})", re.ASCII)

# Elasticsearch 8.19, MetadataCreateIndexService.validateIndexOrAliasName
_INDEX_FORBIDDEN = re.compile(r'[\\/*?"<>| ,#:]')
_INDEX_LONGEST = 255

_METADATA_FIELDS = frozenset(
    (
        *("_id", "_index", "_source", "_routing", "_version", "_seq_no", "_primary_term", "_ignored"),
        *("_field_names", "_doc_count", "_nested_path", "_tier", "_ignored_source", "_tsid"),
    )
)


def _read_table(value: object) -> TableName:
    if isinstance(value, TableName):
        return value
    match = _TABLE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise wrong("expected a table with its keyspace, such as sunbird.user")
    return TableName(*match.groups())


def _check_index(name: str) -> str:
    _check_alias(name)
    if name != name.lower():
        raise wrong("expected an index name in lower case", hint=f"such as {name.lower()}")
    return name


def _check_alias(name: str) -> str:
    if _INDEX_FORBIDDEN.search(name):
        raise wrong('expected an index name without any of \\ / * ? " < > | , # : and space')
    if not name or name[0] in "-_+" or name in (".", ".."):
        raise wrong("expected an index name that does not start with - _ or +")
    if len(name.encode()) > _INDEX_LONGEST:
        raise wrong(f"expected an index name of at most {_INDEX_LONGEST} bytes")
    return name


def _check_template(template: str) -> str:
    try:
        template_columns(template)
    except ValueError as error:
        raise wrong(str(error)) from None
    return template


def _check_field(name: str) -> str:
    if not name or name in _METADATA_FIELDS:
        raise wrong("expected a document field's name; those of Elasticsearch's metadata are taken")
    return name


Column = Annotated[str, Field(min_length=1)]
_Columns = tuple[str, ...] | None
_Body = Mapping[str, Any] | None
DocumentField = Annotated[str, AfterValidator(_check_field)]


class MappingSettings(Section):
    """Which table feeds which index, and how a row becomes a document."""

    table: Annotated[
        TableName,
        PlainValidator(_read_table),
        PlainSerializer(str, return_type=str),
        WithJsonSchema({"type": "string", "pattern": r"^\w+\.\w+$|\$\{", "examples": ["sunbird.user"]}),
    ]
    """The table with its keyspace, such as `sunbird.user`. It needs `cdc = true` in Cassandra."""
    alias: Annotated[str, AfterValidator(_check_alias)]
    """The alias that documents are written through and that searches use."""
    index: Annotated[str, AfterValidator(_check_index)] = Field(
        default_factory=lambda data: f"{data.get('alias', '')}-000001".lower(), validate_default=True
    )
    """The index that is created behind the alias when the alias does not exist; `<alias>-000001` when absent."""
    id: Annotated[str, AfterValidator(_check_template)] | None = None
    """The document's `_id`: key columns in braces, such as `{userid}_{courseid}`. When absent: the key's
    columns, joined so that two keys never give one id."""
    fields: Mapping[Column, DocumentField] = Field(default_factory=dict)
    """Renames: column to document field. A column that is not named here keeps its name."""
    include: tuple[Column, ...] | None = Field(default=None, min_length=1)
    """The only columns that documents show; all when absent."""
    exclude: tuple[Column, ...] | None = Field(default=None, min_length=1)
    """Columns that documents do not show; none when absent."""
    nulls: Literal["keep", "drop"] = "keep"
    """Whether a column without a value is a field of value null, or no field."""
    settings: Mapping[str, Any] | None = None
    """The index's settings, used when the daemon creates it."""
    settings_file: ConfigPath | None = None
    """A file (JSON or YAML) that holds the settings."""
    mappings: Mapping[str, Any] | None = None
    """The index's Elasticsearch mapping, used when the daemon creates it. When absent the daemon makes
    one from the columns' types, with `dynamic: strict`."""
    mappings_file: ConfigPath | None = None
    """A file (JSON or YAML) that holds the Elasticsearch mapping."""

    @field_validator("index")
    @classmethod
    def _index_is_not_alias(cls, index: str, info: ValidationInfo) -> str:
        if index == info.data.get("alias"):
            raise wrong("expected an index name other than the alias", hint=f"such as {index}-000001")
        return index

    @field_validator("fields")
    @classmethod
    def _one_column_for_each_field(cls, fields: Mapping[str, str]) -> Mapping[str, str]:
        columns: dict[str, str] = {}
        for column, field in fields.items():
            if field in columns:
                raise wrong(
                    f"expected a field of its own for each column: {field} is given to {columns[field]} and {column}"
                )
            columns[field] = column
        return fields

    @field_validator("include")
    @classmethod
    def _renamed_is_included(cls, include: _Columns, info: ValidationInfo) -> _Columns:
        renamed = info.data.get("fields", {})
        if include is not None and (unused := sorted(set(renamed) - set(include))):
            raise wrong(f"expected every column that fields renames: {', '.join(unused)} is missing")
        return include

    @field_validator("exclude")
    @classmethod
    def _exclude_stands_alone(cls, exclude: _Columns, info: ValidationInfo) -> _Columns:
        if exclude is not None and info.data.get("include") is not None:
            raise wrong("expected either include or exclude, not both")
        if exclude is not None and (both := sorted(set(exclude) & set(info.data.get("fields", {})))):
            raise wrong(f"expected no column that fields renames: {', '.join(both)}")
        return exclude

    @field_validator("mappings", "settings")
    @classmethod
    def _only_the_inner_part(cls, value: _Body, info: ValidationInfo) -> _Body:
        if value is not None and "mappings" in value:
            raise wrong(
                f'expected what Elasticsearch takes below "{info.field_name}", not the whole body of a new index',
                hint=f'give the part below "{info.field_name}" only',
            )
        return value
