"""Output for people: tables on standard output, notes on standard error, and the formats of sizes, ages and times."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cdc_daemon.model.text import printable

_WIDE: Final = 240
"""The width in characters of a table that is written to a file or a pipe, so that no cell is folded."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@contextmanager
def to_pipe() -> Iterator[None]:
    """Write to standard output in the block. If its reader closes the pipe (`| head`), the command ends silently."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # The rest of the buffer must not raise again when the interpreter exits.
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
    """Return an empty table without lines. The columns in `right` are aligned to the right."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def below_each_other(tables: Iterable[Table]) -> Iterator[Table]:
    """Yield the tables that have rows, with an empty line above each."""
    for table in tables:
        if table.row_count:
            yield Table.grid()
            yield table


def text(content: str) -> Text:
    """Return text for a table cell. Brackets in it are not markup, and control characters are escaped."""
    return Text(printable(content))


def format_bytes(size: int) -> str:
    """Format a size, such as `12 B` or `1.5 MiB`."""
    if size < 1024:
        return f"{size} B"
    number = float(size)
    for unit in ("KiB", "MiB", "GiB"):
        number /= 1024
        if number < 1024:
            return f"{number:.1f} {unit}"
    return f"{number / 1024:.1f} TiB"


def format_age(seconds: float) -> str:
    """Format an age, such as `12s`, `3m`, `5h` or `2d`."""
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return f"{max(0, int(seconds))}s"


def format_time(microseconds: int) -> str:
    """Format a write time (microseconds since the epoch) as ISO 8601, or as a number if it is beyond Python's dates."""
    try:
        moment = _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return str(microseconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
