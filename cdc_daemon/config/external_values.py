"""Values from outside the configuration file: environment variables, and files that hold one value each.

`${NAME}` and `${NAME:-default}` refer to environment variables. They are replaced after the YAML is parsed, so that the
content of a variable cannot change the structure of the file. `X_file` names a file that holds the value of `X`, as
`password_file` does for `password`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr

from cdc_daemon.config.mistakes import KeyPath, Mistake
from cdc_daemon.config.yaml_file import YamlFile

_REFERENCE = re.compile(r"\$\$\{|\$\{(?P<inside>[^}]*)(?P<close>\}?)")
_INSIDE = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>.*))?", re.ASCII | re.DOTALL)


class _BadReferenceError(Exception):
    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def expand(value: Any, environment: Mapping[str, str]) -> tuple[Any, list[Mistake]]:
    """Replace the references to environment variables in the values of a parsed file.

    `${NAME:-default}` is the default if the variable is not set or empty, as in a shell. `$${` stands for a literal
    `${`. A value that becomes an empty text is null.

    Returns the new value, and a mistake for each value that is malformed or refers to a variable that is not set. Such
    a value is left unchanged.
    """
    mistakes: list[Mistake] = []
    return _expand(value, (), environment, mistakes), mistakes


def _expand(value: Any, path: KeyPath, environment: Mapping[str, str], mistakes: list[Mistake]) -> Any:
    if isinstance(value, dict):
        return {key: _expand(item, (*path, key), environment, mistakes) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, (*path, place), environment, mistakes) for place, item in enumerate(value)]
    if not isinstance(value, str) or "${" not in value:
        return value
    try:
        text = _REFERENCE.sub(lambda match: _replace(match, environment), value)
    except _BadReferenceError as error:
        mistakes.append(Mistake(path, error.message, error.hint))
        return value
    return text or None


def _replace(match: re.Match[str], environment: Mapping[str, str]) -> str:
    if match["inside"] is None:
        return "${"
    reference = _INSIDE.fullmatch(match["inside"])
    if reference is None or not match["close"]:
        raise _BadReferenceError(
            "expected ${NAME} or ${NAME:-default}, found another text after ${", "write $${ for a literal ${"
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


_SUFFIX = "_file"
_STRUCTURED = "JSON or YAML"
_LARGEST = 10 * 1024**2


def read_files(value: Any, model: type[BaseModel], base: Path) -> list[Mistake]:
    """Set each `X` to the content of `X_file`, in all sections of a parsed configuration.

    If `X` is a secret or another text, the file is read as text without the newline at its end, otherwise as JSON or
    YAML. `value` is modified. Returns a mistake for each file that cannot be read, and for each `X` that is set in both
    ways.
    """
    return list(_read_section(value, model, base, ()))


def _read_section(value: Any, model: type[BaseModel], base: Path, path: KeyPath) -> Iterator[Mistake]:
    if not isinstance(value, dict):
        return
    for name, field in model.model_fields.items():
        source = name + _SUFFIX
        if source in model.model_fields and value.get(source) is not None:
            mistake = _fill(value, name, base, kind=_kind_of(field.annotation))
            if mistake is not None:
                yield Mistake((*path, source), mistake)
        for inner, keyed in _models_of(field.annotation):
            held = value.get(name)
            if keyed and isinstance(held, dict):
                for key, item in held.items():
                    yield from _read_section(item, inner, base, (*path, name, key))
            elif not keyed:
                yield from _read_section(held, inner, base, (*path, name))


def _fill(value: dict[str, Any], name: str, base: Path, *, kind: str) -> str | None:
    """Set one value from its file. Return the mistake, or None."""
    source = name + _SUFFIX
    if value.get(name) is not None:
        return f"expected either {name} or {source}, found both"
    if not isinstance(value[source], str):
        return None
    file = Path(base, Path(value[source]).expanduser())
    try:
        text = _read_text(file)
        value[name] = _content_of(text, file) if kind == _STRUCTURED else _text_of(text)
    except (OSError, ValueError) as error:
        reason = (error.strerror or "an error") if isinstance(error, OSError) else str(error)
        return f"expected {kind} in {file}, found {reason[0].lower()}{reason[1:]}"
    return None


def _read_text(file: Path) -> str:
    if file.stat().st_size > _LARGEST:
        raise ValueError(f"more than {_LARGEST >> 20} MiB")
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError("bytes that are not UTF-8") from None


def _text_of(text: str) -> str:
    line = text.removesuffix("\n").removesuffix("\r")
    if not line:
        raise ValueError("nothing")
    return line


def _content_of(text: str, file: Path) -> object:
    if file.suffix == ".json":
        # JSON may be indented with tabs, which YAML does not allow.
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"on line {error.lineno}: {error.msg}") from None
    content = YamlFile(text)
    if content.mistakes:
        raise ValueError(str(content.mistakes[0]))
    return content.value


def _kind_of(annotation: Any) -> str:
    types = get_args(annotation) if get_origin(annotation) in {Union, UnionType} else (annotation,)
    return "a secret" if SecretStr in types else "a text" if str in types else _STRUCTURED


def _models_of(annotation: Any) -> Iterator[tuple[type[BaseModel], bool]]:
    """Yield the models in a field's type. The flag says whether the field is a mapping of names to models."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, False
    for argument in get_args(annotation):
        if isinstance(argument, type) and issubclass(argument, BaseModel):
            yield argument, get_origin(annotation) not in {Union, UnionType}
