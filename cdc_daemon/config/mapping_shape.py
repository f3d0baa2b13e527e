"""How the columns of a row become fields, of a document or of an object that is embedded in one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, ValidationInfo, WithJsonSchema, field_validator
from pydantic_core import PydanticCustomError

from cdc_daemon.config.base import ConfigPath, SettingsSection, wrong
from cdc_daemon.config.mapping_names import Column, DatePattern, DocumentField, ExpressionText, check_expression

Columns = tuple[Column, ...] | None


class JsonTextSettings(SettingsSection):
    """How a text column that contains JSON is shown."""

    bad: Literal["text", "empty", "dead_letter"] | None = None
    """The value for a text that is not valid JSON: null, `text` (the text itself), `empty` (the value of `empty`), or
    `dead_letter` (the document becomes a dead letter)."""
    empty: Any = None
    """The value for a blank text and for a column without a value."""


def _read_names(value: object) -> object:
    if value in ("as_is", "camel"):
        return value
    if not isinstance(value, Mapping):
        raise wrong("expected 'as_is', 'camel', or column: field", hint="or names_file, for a list in a file")
    if not all(isinstance(each, str) and each for pair in value.items() for each in pair):
        raise wrong("expected a column name and a field name in each entry")
    return dict(value)


def _read_where(value: object) -> object:
    if isinstance(value, str):
        return check_expression(value)
    if not isinstance(value, Mapping) or not value:
        raise wrong("expected column: value, or an expression", hint="such as {isdeleted: false}, or status != 0")
    for column, wanted in value.items():
        if not isinstance(column, str) or not _are_scalars(wanted if isinstance(wanted, list | tuple) else [wanted]):
            raise wrong("expected a value, or a list of values, for each column")
    return dict(value)


def _are_scalars(values: Any) -> bool:
    return bool(values) and all(value is None or isinstance(value, str | int | float | bool) for value in values)


_SCALAR = {"type": ["string", "number", "boolean", "null"]}

Names = Annotated[
    Literal["as_is", "camel"] | Mapping[str, str],
    PlainValidator(_read_names),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": ["as_is", "camel"]},
                {"type": "object", "additionalProperties": {"type": "string", "minLength": 1}},
            ]
        }
    ),
]

Where = Annotated[
    str | Mapping[str, Any],
    PlainValidator(_read_where),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {
                    "type": "object",
                    "minProperties": 1,
                    "additionalProperties": {"anyOf": [_SCALAR, {"type": "array", "items": _SCALAR, "minItems": 1}]},
                },
            ]
        }
    ),
]


class ShapeSettings(SettingsSection):
    """Which columns become which fields of an object, and which other fields it has."""

    fields: Mapping[Column, DocumentField] = Field(default_factory=dict)
    """Renamed columns: for each column its document field. They take precedence over `names`."""
    names: Names = "as_is"
    """The field names of the other columns: `as_is` (the column name), `camel` (start_date becomes startDate), or a
    list of column: field. The list may name columns that the table does not have. It also applies to the fields of user
    types."""
    names_file: ConfigPath | None = None
    """A file (JSON or YAML) that holds the list for `names`."""
    include: tuple[Column, ...] | None = Field(default=None, min_length=1)
    """The columns that are shown. Default: all columns."""
    exclude: tuple[Column, ...] | None = Field(default=None, min_length=1)
    """The columns that are not shown. Expressions can still use them. Default: none."""
    nulls: Literal["keep", "drop"] = "keep"
    """How a column without a value is shown: as null (`keep`), or not at all (`drop`)."""
    json_text: Mapping[Column, JsonTextSettings] = Field(default_factory=dict)
    """Text columns that contain JSON and are shown as the value that it represents. Also lists, sets and maps of such
    texts."""
    dates: Mapping[Column, DatePattern] = Field(default_factory=dict)
    """The format of timestamp and date columns, such as `yyyy-MM-dd` or `epoch_millis`, always in UTC. Default: ISO
    8601, such as 2026-02-03T04:05:06.789Z."""
    computed: Mapping[DocumentField, ExpressionText] = Field(default_factory=dict)
    """Computed fields: for each field its expression, such as `flagsvalue >= 4`. Expressions can use columns by their
    names in Cassandra, and the fields of joins, of lookups, and of the computed fields before them."""
    constants: Mapping[DocumentField, Any] = Field(default_factory=dict)
    """Fields with the same value, which may be null, in every object."""
    where: Where | None = None
    """The condition for rows to be shown: an expression, or column: value (or a list of values), all of which must
    match. A row that does not match has no document, and is not embedded in one."""

    @field_validator("fields")
    @classmethod
    def _one_column_for_each_field(cls, fields: Mapping[str, str]) -> Mapping[str, str]:
        columns: dict[str, str] = {}
        for column, field in fields.items():
            if field in columns:
                raise wrong(
                    f"expected a different field for each column: {field} is the field of {columns[field]} and {column}"
                )
            columns[field] = column
        return fields

    @field_validator("include")
    @classmethod
    def _renamed_is_included(cls, include: Columns, info: ValidationInfo) -> Columns:
        renamed = info.data.get("fields", {})
        if include is not None and (unused := sorted(set(renamed) - set(include))):
            raise wrong(f"expected every column that fields renames; {', '.join(unused)} is missing")
        return include

    @field_validator("exclude")
    @classmethod
    def _exclude_stands_alone(cls, exclude: Columns, info: ValidationInfo) -> Columns:
        if exclude is not None and info.data.get("include") is not None:
            raise wrong("expected either include or exclude, not both")
        if exclude is not None and (both := sorted(set(exclude) & set(info.data.get("fields", {})))):
            raise wrong(f"expected no column that fields renames: {', '.join(both)}")
        return exclude

    @field_validator("json_text", "dates")
    @classmethod
    def _shaped_is_shown(cls, shaped: Mapping[str, Any], info: ValidationInfo) -> Mapping[str, Any]:
        if hidden := sorted(set(shaped) & set(info.data.get("exclude") or ())):
            raise _hidden(hidden)
        include = info.data.get("include")
        if include is not None and (hidden := sorted(set(shaped) - set(include))):
            raise _hidden(hidden)
        return shaped

    @field_validator("constants")
    @classmethod
    def _constants_are_no_computed(cls, constants: Mapping[str, Any], info: ValidationInfo) -> Mapping[str, Any]:
        if both := sorted(set(constants) & set(info.data.get("computed", {}))):
            raise wrong(f"expected each field in computed or in constants, found {', '.join(both)} in both")
        return constants


def _hidden(columns: list[str]) -> PydanticCustomError:
    return wrong(f"expected columns that are shown, found {', '.join(columns)}")
