"""Environment variables in a configuration: `${NAME}` and `${NAME:-default}` inside scalar values.

References are replaced after the YAML is parsed, so no variable's content can change the file's structure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cdc_daemon.config.problem import KeyPath, Problem

_REFERENCE = re.compile(r"\$\$\{|\$\{(?P<inside>[^}]*)(?P<close>\}?)")
_INSIDE = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>.*))?", re.ASCII | re.DOTALL)


class _BadReferenceError(Exception):
    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def expand(value: Any, environment: Mapping[str, str]) -> tuple[Any, list[Problem]]:
    """Replace the references in a parsed file's scalars.

    `${NAME:-default}` is the default when the variable is absent or empty, as in a shell. `$${` stands for
    `${` itself. A value that is one reference and nothing else, and comes out empty, is null.

    Returns the new value, and a problem for each scalar that names an absent variable or is malformed; such a
    scalar is left as it is.
    """
    problems: list[Problem] = []
    return _expand(value, (), environment, problems), problems


def _expand(value: Any, path: KeyPath, environment: Mapping[str, str], problems: list[Problem]) -> Any:
    if isinstance(value, dict):
        return {key: _expand(item, (*path, key), environment, problems) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, (*path, place), environment, problems) for place, item in enumerate(value)]
    if not isinstance(value, str) or "${" not in value:
        return value
    try:
        text = _REFERENCE.sub(lambda match: _replace(match, environment), value)
    except _BadReferenceError as error:
        problems.append(Problem(path, error.message, error.hint))
        return value
    return text or None


def _replace(match: re.Match[str], environment: Mapping[str, str]) -> str:
    if match["inside"] is None:
        return "${"
    reference = _INSIDE.fullmatch(match["inside"])
    if reference is None or not match["close"]:
        raise _BadReferenceError(
            "expected ${NAME} or ${NAME:-default}, found another text after ${", "write $${ for ${ itself"
        )
    name, default = reference["name"], reference["default"]
    text = environment.get(name)
    if default is not None:
        return text or default
    if text is None:
        raise _BadReferenceError(
            f"expected the environment variable {name}, which is not set",
            f"set it, or give a default: ${{{name}:-default}}",
        )
    return text
