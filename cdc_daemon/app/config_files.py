"""The configuration file of a running daemon, and whether it or a file that it names has changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from cdc_daemon.config import Settings, load
from cdc_daemon.config.file_stamp import Stamp, file_stamp


class ConfigFile:
    """A configuration file that is read again while the daemon runs."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    def load(self) -> Settings:
        """Return the settings of the present file. Raises `ConfigError`."""
        return load(self.path)

    def stamps(self, settings: Settings) -> Mapping[Path, Stamp]:
        """Return a stamp of the file and of each file that `settings` name. A folder of Kubernetes is followed."""
        named = {path for path in _paths(settings) if not path.is_dir()}
        return {path: file_stamp(path) for path in sorted({self.path, *named})}


def _paths(value: Any) -> Iterator[Path]:
    if isinstance(value, Path):
        yield value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _paths(getattr(value, name))
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _paths(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _paths(each)
