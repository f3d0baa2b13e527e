"""The example configurations: in the package when installed, at the top of a checkout otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

from cdc_daemon.cli.files import write_file
from cdc_daemon.model.errors import CdcError

_INSTALLED: Final = files("cdc_daemon") / "example_files"
_CHECKOUT: Final = Path(__file__).parents[3]
_FOLDER: Final = "examples"
_SCHEMA_LINE: Final = "# yaml-language-server:"


class Example(StrEnum):
    """The names of the examples."""

    SUNBIRD = "sunbird"
    SUNBIRD_SPARK = "sunbird-spark"


_CONFIGURATIONS: Final = {
    Example.SUNBIRD: "config.example.yaml",
    Example.SUNBIRD_SPARK: "config.sunbird-spark.yaml",
}
_FILES: Final = {Example.SUNBIRD: "sunbird", Example.SUNBIRD_SPARK: "sunbird"}
"""The folder in `examples/` whose files the configuration names."""


def write_example(example: Example, file: Path) -> list[Path]:
    """Write a configuration, and the files that it names beside it. Return the paths of all.

    Nothing is written if a file exists with another content. Raises `CdcError`.
    """
    root = _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT
    texts = {file: _configuration(root.joinpath(_CONFIGURATIONS[example]))}
    folder = root.joinpath(_FOLDER, _FILES[example])
    for parts, source in _below(folder, (_FOLDER, _FILES[example])):
        texts[file.parent.joinpath(*parts)] = source.read_text(encoding="utf-8")
    for path, text in texts.items():
        if path.exists() and _content(path) != text:
            raise CdcError(
                "expected no file of this name, found one with another content; nothing was written",
                hint="name another place with --output FOLDER/config.yaml",
                file=str(path),
            )
    for path, text in texts.items():
        write_file(path, text, what="the example", make_folder=True)
    return list(texts)


def _configuration(source: Traversable) -> str:
    """Return the configuration without the line that points editors to the schema, which is not written."""
    lines = source.read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith(_SCHEMA_LINE)).lstrip("\n")


def _content(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _below(folder: Traversable, parts: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Traversable]]:
    for each in sorted(folder.iterdir(), key=lambda each: each.name):
        inner = (*parts, each.name)
        if each.is_dir():
            yield from _below(each, inner)
        else:
            yield inner, each
