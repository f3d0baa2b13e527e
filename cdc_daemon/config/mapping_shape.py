"""How the columns of a row become the fields of an object: of a document, and of what is embedded in one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, ValidationInfo, WithJsonSchema, field_validator
from pydantic_core import PydanticCustomError

from cdc_daemon.config.base import ConfigPath, SettingsSection, wrong
from cdc_daemon.config.mapping_names import Column, DatePattern, DocumentField, ExpressionText, check_expression

Columns = tuple[Column, ...] | None


class JsonTextSettings(SettingsSection):
    """How a column whose text is JSON is shown."""

    bad: Literal["text", "empty", "dead_letter"] | None = None
    """What a text becomes that is no JSON: null, `text` (the text as it is), `empty` (what a blank text becomes), or
    `dead_letter` (the document is set aside)."""
    empty: Any = None
    """What a blank text and a column without a value become."""


def _read_names(value: object) -> object:
    if value in ("as_is", "camel"):
        return value
    if not isinstance(value, Mapping):
        raise wrong("expected 'as_is', 'camel', or column: field", hint="or names_file, for a list that several share")
    if not all(isinstance(each, str) and each for pair in value.items() for each in pair):
        raise wrong("expected a column's name and a field's name in each entry")
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
    """Which columns become which fields of an object, and what else stands in it."""

    fields: Mapping[Column, DocumentField] = Field(default_factory=dict)
    """Renames: column to document field. They go before `names`."""
    names: Names = "as_is"
    """What the other columns are called: `as_is` as in Cassandra, `camel` (start_date becomes startDate), or by a
    list of column: field, in which columns may be named that this table has not. The fields of user types are
    called so too."""
    names_file: ConfigPath | None = None
    """A file (JSON or YAML) that holds such a list for `names`."""
    include: tuple[Column, ...] | None = Field(default=None, min_length=1)
    """The only columns that are shown; all when absent."""
    exclude: tuple[Column, ...] | None = Field(default=None, min_length=1)
    """Columns that are not shown; none when absent. Expressions see them all the same."""
    nulls: Literal["keep", "drop"] = "keep"
    """Whether a column without a value is a field of value null, or no field."""
    json_text: Mapping[Column, JsonTextSettings] = Field(default_factory=dict)
    """Columns whose texts hold JSON, and are shown as what they hold; also texts in a list, set or map."""
    dates: Mapping[Column, DatePattern] = Field(default_factory=dict)
    """Columns of timestamps or dates to their pattern, such as `yyyy-MM-dd`, `epoch_millis`; always in UTC. Without
    one: ISO 8601, such as 2026-02-03T04:05:06.789Z."""
    computed: Mapping[DocumentField, ExpressionText] = Field(default_factory=dict)
    """Fields that are worked out: field to expression, such as `flagsvalue >= 4`. Expressions name columns as they are
    called in Cassandra, and fields that joins, look-ups and computed fields before them have made."""
    constants: Mapping[DocumentField, Any] = Field(default_factory=dict)
    """Fields that have the same value in every object, null too."""
    where: Where | None = None
    """Which rows are shown: column: value (or a list of values), all of which have to hold, or an expression. A row
    for which it does not hold has no document, and is left out of what is embedded."""

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
    def _renamed_is_included(cls, include: Columns, info: ValidationInfo) -> Columns:
        renamed = info.data.get("fields", {})
        if include is not None and (unused := sorted(set(renamed) - set(include))):
            raise wrong(f"expected every column that fields renames: {', '.join(unused)} is missing")
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
