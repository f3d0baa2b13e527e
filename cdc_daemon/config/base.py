"""The base class of the configuration's sections, and types that all of them use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo
from pydantic_core import PydanticCustomError

REFERENCE_PATTERN = r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}"
"""A regular expression, in the dialect of JSON Schema (ECMA 262), for a reference to an environment variable."""

BASE_DIRECTORY = "base_directory"
"""The key in the validation context of the folder that relative paths start from."""


class SettingsSection(BaseModel):
    """A section of the configuration. It is immutable, and unknown keys are errors."""

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
    """Return the error for a value other than the expected one; `hint` says how to correct it."""
    context: dict[str, Any] = {"expected": expected}
    if hint is not None:
        context["hint"] = hint
    return PydanticCustomError("cdc_daemon", "{expected}", context)


def _resolve(path: Path, info: ValidationInfo) -> Path:
    base = (info.context or {}).get(BASE_DIRECTORY)
    return path if base is None else Path(base, path.expanduser())


ConfigPath = Annotated[Path, AfterValidator(_resolve)]
"""A path; a relative one starts from the folder of the configuration file."""
