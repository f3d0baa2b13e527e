"""From the PATHs of a command line to segment files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from cdc_daemon.commitlog.descriptor import parse_segment_name

STANDARD_INPUT = "-"
"""Stands for the paths on standard input, one a line."""

_INDEX_SUFFIX = "_cdc.idx"


def missing(arguments: Sequence[str]) -> list[str]:
    """Return those arguments that name nothing that is there."""
    return [each for each in arguments if each != STANDARD_INPUT and not Path(each).exists()]


def find_segments(arguments: Sequence[str], standard_input: Iterable[str]) -> Iterator[Path]:
    """Yield the segment files that arguments stand for, in their order.

    A folder stands for the segments in it by ascending id. Index files are passed over, so that `cdc_raw/*` may
    be given. Lines of `standard_input` are read one by one as they are needed; what they name need not exist.
    Raises `OSError` for a folder that cannot be listed.
    """
    for argument in arguments:
        if argument == STANDARD_INPUT:
            for line in standard_input:
                if name := line.rstrip("\r\n"):
                    yield from _expand(Path(name))
        else:
            yield from _expand(Path(argument))


def only_segment(arguments: Sequence[str]) -> bool:
    """Return whether arguments stand for one segment, and will do so later too."""
    return len(arguments) == 1 and arguments[0] != STANDARD_INPUT and not Path(arguments[0]).is_dir()


def _expand(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from folder_segments(path)
    elif not path.name.endswith(_INDEX_SUFFIX):
        yield path


def folder_segments(folder: Path) -> list[Path]:
    """Return the segments in a folder by ascending id. Raises `OSError`."""
    with os.scandir(folder) as entries:
        named = [(parse_segment_name(entry.name), entry.name) for entry in entries]
    return [folder / name for _, name in sorted((parsed[1], name) for parsed, name in named if parsed is not None)]
