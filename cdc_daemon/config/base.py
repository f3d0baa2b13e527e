"""What every section of the configuration has in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo
from pydantic_core import PydanticCustomError

REFERENCE_PATTERN = r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}"
"""A reference to an environment variable, as the JSON Schema and its readers (ECMA 262) understand it."""

BASE_DIRECTORY = "base_directory"
"""The key of the validation context that holds the folder relative paths start from."""


class SettingsSection(BaseModel):
    """A part of the configuration: it cannot be changed, and knows each of its keys."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
        str_strip_whitespace=False,
        ser_json_inf_nan="constants",
    )


def wrong(expected: str, *, hint: str | None = None) -> PydanticCustomError:
    """Make the error of a value that is not what was expected; `hint` says how to mend it."""
    context: dict[str, Any] = {"expected": expected}
    if hint is not None:
        context["hint"] = hint
    return PydanticCustomError("cdc_daemon", "{expected}", context)


def _resolve(path: Path, info: ValidationInfo) -> Path:
    base = (info.context or {}).get(BASE_DIRECTORY)
    return path if base is None else Path(base, path.expanduser())


ConfigPath = Annotated[Path, AfterValidator(_resolve)]
"""A path; a relative one starts from the folder of the configuration file."""
