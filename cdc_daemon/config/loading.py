"""Load a configuration file: the result is the settings, or all mistakes that the file contains."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cdc_daemon.config import section_names
from cdc_daemon.config.base import BASE_DIRECTORY
from cdc_daemon.config.external_values import expand, read_files
from cdc_daemon.config.mistakes import KeyPath, Mistake, SettingsError, explain
from cdc_daemon.config.settings import Settings
from cdc_daemon.config.yaml_file import YamlFile
from cdc_daemon.model.errors import ConfigError


def load(file: Path, *, environment: Mapping[str, str] | None = None) -> Settings:
    """Load a configuration file (YAML in UTF-8).

    `environment` replaces the environment variables of the process. Raises `ConfigError` if the file cannot be read,
    and `SettingsError`, which holds all mistakes, if its content is not valid.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError("expected a text file in UTF-8, found other bytes", file=str(file)) from None
    except OSError as error:
        raise ConfigError(
            f"expected a configuration file, found {(error.strerror or 'an error').lower()}",
            hint="set its path with --config or CDC_DAEMON_CONFIG",
            file=str(file),
        ) from None
    return parse(text, file=file, environment=environment)


def parse(text: str, *, file: Path, environment: Mapping[str, str] | None = None) -> Settings:
    """Load a configuration from its text. Relative paths start from the folder of `file`, and errors name `file`."""
    document = YamlFile(text)
    if document.mistakes:
        raise SettingsError(file, document.mistakes)
    base = file.parent.absolute()
    renamed, mistakes = section_names.rename({} if document.value is None else document.value)
    value, more = expand(renamed, _environment(environment))
    mistakes += more
    mistakes += read_files(value, Settings, base)
    settings, more = _validate(value, base)
    reported = {mistake.path for mistake in mistakes}
    mistakes += [mistake for mistake in more if not _is_reported(mistake.path, reported)]
    if settings is None or mistakes:
        if section_names.is_renamed(document.value):
            mistakes = [section_names.as_written(mistake) for mistake in mistakes]
        raise SettingsError(file, list(_placed(mistakes, document)))
    return settings


def read_state_directory(file: Path, *, environment: Mapping[str, str] | None = None) -> Path | None:
    """Return `state.directory` of a configuration file, whatever else is wrong in it; None if it cannot be read."""
    try:
        value = YamlFile(file.read_text(encoding="utf-8")).value
    except (OSError, UnicodeDecodeError):
        return None
    state = value.get("state") if isinstance(value, dict) else None
    expanded, mistakes = expand(state, _environment(environment))
    directory = expanded.get("directory") if isinstance(expanded, dict) else None
    if mistakes or not isinstance(directory, str):
        return None
    return Path(file.parent.absolute(), Path(directory).expanduser())


def _validate(value: Any, base: Path) -> tuple[Settings | None, list[Mistake]]:
    try:
        return Settings.model_validate(value, context={BASE_DIRECTORY: base}), []
    except ValidationError as error:
        return None, explain(error)


def _is_reported(path: KeyPath, reported: set[KeyPath]) -> bool:
    """Whether a mistake is a consequence of one already reported, in the same value or in its file."""
    if any(path[:length] in reported for length in range(1, len(path) + 1)):
        return True
    return bool(path) and isinstance(path[-1], str) and (*path[:-1], f"{path[-1]}_file") in reported


def _placed(mistakes: list[Mistake], document: YamlFile) -> Iterator[Mistake]:
    for mistake in mistakes:
        yield Mistake(mistake.path, mistake.message, mistake.hint, mistake.line or document.line(mistake.path))


def _environment(environment: Mapping[str, str] | None) -> Mapping[str, str]:
    return os.environ if environment is None else environment
