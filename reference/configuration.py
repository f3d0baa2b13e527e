"""The configuration reference: every key, its value, its default and its meaning, from the configuration's schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from cdc_daemon.config import json_schema
from reference.markdown import table

_VARIABLE: Final = "\\$\\{"
"""Part of a pattern for environment variables, which may stand for every value."""

_HEAD: Final = """\
# Configuration reference

This page lists every key of the configuration. It is generated from the schema by `make docs`.
[config.example.yaml](../config.example.yaml) is a whole configuration with comments, [mapping.md](mapping.md) shows
mappings with their documents, and [config.schema.json](config.schema.json) is the schema for editors.

`${NAME}` stands for the value of an environment variable, and `${NAME:-text}` for `text` if it is not set. Durations
are written like `500ms`, `2s`, `1m`, `1h`, `7d`, sizes like `512KiB` or `4MB`. `cdc-daemon config validate` reports
every mistake with its line, and `cdc-daemon config show` prints the configuration with all defaults, without secrets.

"""


def configuration_page() -> str:
    """Return docs/configuration.md."""
    schema = json_schema()
    first = _Reference(schema, {})
    list(first.lines())  # finds the place of each section, so that links to it can precede it
    return _HEAD + "\n".join(_Reference(schema, first.described).lines()).rstrip() + "\n"


class _Reference:
    """Walks the schema. Each kind of section is described once, where it is first found."""

    def __init__(self, schema: Mapping[str, Any], places: Mapping[str, str]) -> None:
        self._schema = schema
        self._places = places
        self.described: dict[str, str] = {}

    def lines(self) -> Iterator[str]:
        yield "## Sections"
        yield ""
        properties = self._schema["properties"]
        required = self._schema["required"]
        yield from table(
            ("section", "default", "meaning"),
            (
                (self._link(name, part), _default(part, required=name in required), self._meaning(part))
                for name, part in properties.items()
            ),
        )
        for name, part in properties.items():
            for reference, path in _sections(part, name):
                yield from self._section(reference, path)

    def _link(self, name: str, part: Mapping[str, Any]) -> str:
        if next(_sections(part, name), None) is None or name == "search":
            return f"`{name}`"
        return f"[`{name}`](#{_anchor(next(_sections(part, name))[1])})"

    def _section(self, reference: str, path: str) -> Iterator[str]:
        """Return the table of a section, and those of the sections in it."""
        if reference in self.described:
            return
        self.described[reference] = path
        section = self._schema["$defs"][reference]
        properties: Mapping[str, Any] = section.get("properties", {})
        yield f"## {path}"
        yield ""
        yield _paragraph(section.get("description", ""))
        yield ""
        yield from table(
            ("key", "value", "default", "meaning"),
            (
                (
                    f"`{name}`",
                    self._value(part, f"{path}.{name}"),
                    _default(part, required=name in section.get("required", ())),
                    self._meaning(part),
                )
                for name, part in properties.items()
            ),
        )
        for name, part in properties.items():
            for inner, place in _sections(part, f"{path}.{name}"):
                yield from self._section(inner, place)

    def _meaning(self, part: Mapping[str, Any]) -> str:
        if "description" in part or "$ref" not in part:
            return str(part.get("description", ""))
        return str(self._schema["$defs"][_name(part)].get("description", ""))

    def _value(self, part: Mapping[str, Any], path: str) -> str:
        """Return the values that a key takes, in words."""
        if "$ref" in part:
            place = self._places.get(_name(part), path)
            return f"[section](#{_anchor(place)})"
        if "anyOf" in part:
            kinds = [self._value(each, path) for each in part["anyOf"] if not _is_variable(each)]
            return " or ".join(dict.fromkeys(kind for kind in kinds if kind != "null"))
        if "enum" in part:
            return ", ".join(f"`{each}`" for each in part["enum"])
        return self._plain(part, path)

    def _plain(self, part: Mapping[str, Any], path: str) -> str:
        match part.get("type"):
            case "array":
                return f"list of: {self._value(part.get('items', {}), f'{path}[]')}"
            case "object":
                inner = _values_of(part)
                return f"keys with: {self._value(inner, f'{path}.NAME')}" if isinstance(inner, Mapping) else "keys"
            case "string":
                return _text(part)
            case "integer" | "number" as kind:
                return ("whole number" if kind == "integer" else "number") + _limits(part)
            case "boolean":
                return "`true`, `false`"
            case list() as several:
                return ", ".join(each for each in several if each != "null")
            case other:
                return str(other or "any")


def _sections(part: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    """Return the kind and the path of each section that a key holds."""
    if "$ref" in part:
        yield _name(part), path
    for each in part.get("anyOf", ()):
        yield from _sections(each, path)
    if "items" in part:
        yield from _sections(part["items"], f"{path}[]")
    if isinstance(inner := _values_of(part), Mapping):
        yield from _sections(inner, f"{path}.NAME")


def _values_of(part: Mapping[str, Any]) -> Any:
    """Return the schema of the values of an object with free names."""
    return next(iter(part.get("patternProperties", {}).values()), part.get("additionalProperties"))


def _name(part: Mapping[str, Any]) -> str:
    return str(part["$ref"].rpartition("/")[2])


def _is_variable(part: Mapping[str, Any]) -> bool:
    return str(part.get("pattern", "")).startswith(_VARIABLE)


def _text(part: Mapping[str, Any]) -> str:
    pattern = str(part.get("pattern", ""))
    if "(ms|s|m|h|d)" in pattern:
        return "duration"
    if "KiB" in pattern:
        return "size"
    return "path" if part.get("format") == "path" else "text"


def _limits(part: Mapping[str, Any]) -> str:
    low, above = part.get("minimum"), part.get("exclusiveMinimum")
    limits = [f"from {low:,}" if low is not None else "", f"above {above:,}" if above is not None else ""]
    limits.append(f"to {part['maximum']:,}" if "maximum" in part else "")
    return "".join(f" {each}" for each in limits if each)


def _default(part: Mapping[str, Any], *, required: bool) -> str:
    if required:
        return "required"
    default = part.get("default")
    return "" if default in (None, {}, []) else f"`{default if isinstance(default, str) else json.dumps(default)}`"


def _paragraph(text: str) -> str:
    return "\n\n".join(" ".join(each.split()) for each in text.split("\n\n"))


def _anchor(path: str) -> str:
    """Return the anchor of a heading, as GitHub makes it."""
    return "".join(each for each in path.lower() if each.isalnum() or each in "_-")
