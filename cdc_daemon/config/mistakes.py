"""The mistakes in a configuration file: where each is, what was expected, what was found, and how to correct it."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from cdc_daemon.config.redaction import STARS, is_secret_name
from cdc_daemon.config.settings import Settings
from cdc_daemon.model.errors import ConfigError

KeyPath = tuple[str | int, ...]
"""The path of a value in the file: keys and list positions."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake: its place (`line` counts from 1), what was expected and found, and a hint how to correct it."""

    path: KeyPath
    message: str
    hint: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        line = "" if self.line is None else f"line {self.line}: "
        place = f"{format_path(self.path)}: " if self.path else ""
        return f"{line}{place}{self.message}" + (f" ({self.hint})" if self.hint else "")


class SettingsError(ConfigError):
    """A configuration file cannot be used. `mistakes` holds all mistakes that were found in it."""

    def __init__(self, file: Path | str, mistakes: Sequence[Mistake]) -> None:
        self.file = str(file)
        self.mistakes = tuple(sorted(mistakes, key=lambda mistake: (mistake.line or 0, format_path(mistake.path))))
        lines = [str(mistake) for mistake in self.mistakes]
        message = lines[0] if len(lines) == 1 else "\n  ".join([f"{len(lines)} mistakes", *lines])
        super().__init__(message, file=self.file)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.file, self.mistakes)


def format_path(path: KeyPath) -> str:
    """Format a path as text, such as `elasticsearch.hosts[0]`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


_LONGEST = 60

_OF_WHOLE_MAPPINGS = ("on_row_delete", "removal_mark")
"""Keys of a mapping that joins and lookups do not have, although rows of their tables are removed too."""

_EXPECTED = {
    "missing": "expected a value, found none",
    "bool_parsing": "expected true or false",
    "bool_type": "expected true or false",
    "int_parsing": "expected a whole number",
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "int_parsing_size": "expected a smaller number",
    "string_type": "expected a text",
    "string_unicode": "expected a text",
    "string_too_short": "expected a text that is not empty",
    "tuple_type": "expected a list",
    "dict_type": "expected keys and values",
    "mapping_type": "expected keys and values",
    "model_type": "expected keys and values",
    "path_type": "expected a path",
    "too_short": "expected at least one",
    "greater_than": "expected more than {gt}",
    "greater_than_equal": "expected at least {ge}",
    "less_than": "expected less than {lt}",
    "less_than_equal": "expected at most {le}",
    "literal_error": "expected {expected}",
    "string_pattern_mismatch": "expected a name of letters, digits, - and _",
}


def explain(error: ValidationError) -> list[Mistake]:
    """Return a mistake for each of pydantic's errors in the validation of Settings."""
    return [_mistake_of(details) for details in error.errors(include_url=False) if not _follows(details)]


def _follows(details: ErrorDetails) -> bool:
    """Whether an error is only a consequence of another that is reported: a missing default, or an empty list."""
    return details["type"] == "default_factory_not_called" or (
        details["type"] == "too_short" and bool(details["input"])
    )


def _mistake_of(details: ErrorDetails) -> Mistake:
    kind, context = details["type"], details.get("ctx", {})
    path: KeyPath = tuple(step for step in details["loc"] if step != "[key]")
    if kind == "extra_forbidden":
        return Mistake(path, "unknown key", _right_name(path))
    if kind == "missing":
        return Mistake(path, _EXPECTED[kind], _missing_hint(path))
    template = _EXPECTED.get(kind)
    if template is None:
        template = "{expected}" if kind == "cdc_daemon" else f"expected another value: {details['msg']}"
    message = template.format_map(context)
    hint = context.get("hint")
    if kind == "literal_error":
        hint = _nearest(str(details["input"]), _alternatives(str(context.get("expected", ""))))
    elif kind == "tuple_type" and isinstance(details["input"], str):
        hint = "write [value]"
    # The message of a rule on several values already says what was found.
    if kind != "cdc_daemon" or isinstance(details["input"], str | int | float):
        message += f", found {_show(details['input'], path)}"
    return Mistake(path, message, hint)


def _show(found: object, path: KeyPath) -> str:
    """Format a value that was found. A value that may be a secret is replaced by stars."""
    if found is None:
        return "nothing"
    if any(isinstance(step, str) and is_secret_name(step) for step in path):
        return STARS
    if isinstance(found, Mapping):
        return "keys and values"
    if isinstance(found, list | tuple | set):
        return "a list" if found else "an empty list"
    if isinstance(found, str) and "@" in found and "://" in found:
        return "a URL with a login"
    text = json.dumps(found, default=str, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _model_at(path: KeyPath) -> type[BaseModel] | None:
    model: Any = Settings
    for step in path:
        if isinstance(model, type) and issubclass(model, BaseModel):
            field = model.model_fields.get(str(step))
            model = None if field is None else field.annotation
        else:
            model = next((inner for inner in get_args(model) if _is_model(inner)), None)
    return model if _is_model(model) else None


def _is_model(candidate: object) -> bool:
    return isinstance(candidate, type) and issubclass(candidate, BaseModel)


def _right_name(path: KeyPath) -> str | None:
    """Return a hint for an unknown key: a similar key of this section, or the same key of another section."""
    name = str(path[-1])
    if name in _OF_WHOLE_MAPPINGS and path[0] == "mappings" and len(path) > 3:
        return f"{name} belongs to the mapping: a removed row of another table only disappears from the documents"
    model = _model_at(path[:-1])
    here = [] if model is None else list(model.model_fields)
    near = difflib.get_close_matches(name.lower().replace("-", "_"), here, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]}?"
    elsewhere = [format_path(place) for place in _places(Settings, ()) if place[-1] == name and place[:-1] != path[:-1]]
    if elsewhere:
        return f"did you mean {' or '.join(elsewhere)}?"
    return f"known here: {', '.join(here)}" if here else None


def _places(model: type[BaseModel], path: tuple[str, ...]) -> Iterable[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        yield (*path, name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _places(field.annotation, (*path, name))


def _missing_hint(path: KeyPath) -> str | None:
    model = _model_at(path[:-1])
    field = None if model is None else model.model_fields.get(str(path[-1]))
    if field is None or not field.description:
        return None
    first = field.description.split("\n\n")[0].replace("\n", " ").split(". ")[0]
    return first.rstrip(".")


def _alternatives(expected: str) -> list[str]:
    return [word.strip(" '") for part in expected.split(" or ") for word in part.split(",")]


def _nearest(found: str, names: list[str]) -> str | None:
    by_lower = {name.lower(): name for name in names}
    near = difflib.get_close_matches(found.lower(), by_lower, n=1, cutoff=0.6)
    return f"did you mean {by_lower[near[0]]}?" if near else None
