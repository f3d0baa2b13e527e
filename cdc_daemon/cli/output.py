"""Standard output: lines for pipes, tables for people."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cdc_daemon.model.printable import printable

_WIDE: Final = 240
"""Columns of a table that goes to a file or a pipe, where nothing may be folded for lack of a terminal."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@contextmanager
def to_pipe() -> Iterator[None]:
    """Write standard output in the block; where its reader wants no more (`| head`), the command ends quietly."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still buffered must not fail once more when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None


def say(text: str) -> None:
    """Write a line to standard error."""
    typer.echo(text, err=True)


def show_table(table: Table) -> None:
    """Write a table to standard output."""
    width = None if sys.stdout.isatty() else _WIDE
    Console(highlight=False, width=width).print(table)


def plain_table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """Make a table without lines; `right` are the columns of numbers."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def text(content: str) -> Text:
    """Return text for a table's cell. Brackets in it are no markup, and control characters are escaped."""
    return Text(printable(content))


def spell_bytes(size: int) -> str:
    """Spell a size for people: `12 B`, `1.5 MiB`."""
    if size < 1024:
        return f"{size} B"
    number = float(size)
    for unit in ("KiB", "MiB", "GiB"):
        number /= 1024
        if number < 1024:
            return f"{number:.1f} {unit}"
    return f"{number / 1024:.1f} TiB"


def spell_age(seconds: float) -> str:
    """Spell an age for people: `12s`, `3m`, `5h`, `2d`."""
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return f"{max(0, int(seconds))}s"


def spell_time(microseconds: int) -> str:
    """Spell a write time (microseconds since the epoch) as ISO 8601, or as its number where no calendar has it."""
    try:
        moment = _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return str(microseconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
