"""The JSON Schema of the configuration file, for editors and for checks before a deployment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from cdc_daemon.config.base import REFERENCE_PATTERN
from cdc_daemon.config.section_names import NAME, OTHER_NAME
from cdc_daemon.config.settings import Settings
from cdc_daemon.config.units import DURATION_PATTERN, SIZE_PATTERN, format_duration, format_size

_FORMATTERS: Mapping[str, Callable[[Any], str]] = {DURATION_PATTERN: format_duration, SIZE_PATTERN: format_size}

_REFERENCE: JsonSchemaValue = {"type": "string", "pattern": REFERENCE_PATTERN}


class _FileSchema(GenerateJsonSchema):
    """The schema of the file, in which a `${VARIABLE}` is allowed in place of each number, boolean or choice."""

    def int_schema(self, schema: core_schema.IntSchema) -> JsonSchemaValue:
        return _or_reference(super().int_schema(schema))

    def bool_schema(self, schema: core_schema.BoolSchema) -> JsonSchemaValue:
        return _or_reference(super().bool_schema(schema))

    def literal_schema(self, schema: core_schema.LiteralSchema) -> JsonSchemaValue:
        return _or_reference(super().literal_schema(schema))

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Write default values with units as the file does. The default of a section is left to its keys."""
        made = super().default_schema(schema)
        formatter = _FORMATTERS.get(made.get("pattern", ""))
        if formatter is not None and "default" in made:
            made["default"] = formatter(made["default"])
        if "$ref" in made:
            made.pop("default", None)
        return made


def _or_reference(schema: JsonSchemaValue) -> JsonSchemaValue:
    return {"anyOf": [schema, _REFERENCE]}


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a configuration file."""
    schema = Settings.model_json_schema(schema_generator=_FileSchema)
    properties = schema["properties"]
    properties[OTHER_NAME] = {**properties[NAME], "description": f"Another name of the section `{NAME}`."}
    schema["not"] = {"required": [NAME, OTHER_NAME]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "cdc-daemon configuration",
    }
