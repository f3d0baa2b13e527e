"""Values that a configuration keeps in files of their own: `password_file` beside `password`, and so on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr

from cdc_daemon.config.problem import KeyPath, Problem
from cdc_daemon.config.yaml_file import YamlFile

_SUFFIX = "_file"
_LARGEST = 10 * 1024**2


def read_files(value: Any, model: type[BaseModel], base: Path) -> list[Problem]:
    """Put the contents of `X_file` in place of each absent `X`, throughout a parsed configuration.

    Where `X` is a secret its file is taken as text without the newline at its end, otherwise as JSON or YAML.
    `value` is changed. Returns a problem for each file that cannot be read and for each `X` given twice.
    """
    return list(_read_section(value, model, base, ()))


def _read_section(value: Any, model: type[BaseModel], base: Path, path: KeyPath) -> Iterator[Problem]:
    if not isinstance(value, dict):
        return
    for name, field in model.model_fields.items():
        source = name + _SUFFIX
        if source in model.model_fields and value.get(source) is not None:
            problem = _fill(value, name, base, secret=_is_secret(field.annotation))
            if problem is not None:
                yield Problem((*path, source), problem)
        for inner, keyed in _models_of(field.annotation):
            held = value.get(name)
            if keyed and isinstance(held, dict):
                for key, item in held.items():
                    yield from _read_section(item, inner, base, (*path, name, key))
            elif not keyed:
                yield from _read_section(held, inner, base, (*path, name))


def _fill(value: dict[str, Any], name: str, base: Path, *, secret: bool) -> str | None:
    """Take one value from its file; return what is wrong, if anything is."""
    source = name + _SUFFIX
    if value.get(name) is not None:
        return f"expected either {name} or {source}, found both"
    if not isinstance(value[source], str):
        return None
    file = Path(base, Path(value[source]).expanduser())
    try:
        text = _read_text(file)
        value[name] = _secret_of(text) if secret else _content_of(text, file)
    except (OSError, ValueError) as error:
        reason = (error.strerror or "an error") if isinstance(error, OSError) else str(error)
        return f"expected {'a secret' if secret else 'JSON or YAML'} in {file}, found {reason[0].lower()}{reason[1:]}"
    return None


def _read_text(file: Path) -> str:
    if file.stat().st_size > _LARGEST:
        raise ValueError(f"more than {_LARGEST >> 20} MiB")
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError("bytes that are not UTF-8") from None


def _secret_of(text: str) -> str:
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret:
        raise ValueError("nothing")
    return secret


def _content_of(text: str, file: Path) -> object:
    if file.suffix == ".json":
        # JSON may be indented with tabs, which YAML does not take.
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"on line {error.lineno}: {error.msg}") from None
    content = YamlFile(text)
    if content.problems:
        raise ValueError(str(content.problems[0]))
    return content.value


def _is_secret(annotation: Any) -> bool:
    return annotation is SecretStr or SecretStr in get_args(annotation)


def _models_of(annotation: Any) -> Iterator[tuple[type[BaseModel], bool]]:
    """Find the models a field holds: itself one, perhaps none, or a mapping of names to one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, False
    for argument in get_args(annotation):
        if isinstance(argument, type) and issubclass(argument, BaseModel):
            yield argument, get_origin(annotation) not in {Union, UnionType}
