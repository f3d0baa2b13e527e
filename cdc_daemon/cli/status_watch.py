"""`cdc-daemon status --watch`: the status screen, drawn again each second."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cdc_daemon.cli.output import format_age, show_table
from cdc_daemon.model.errors import CdcError
from cdc_daemon.model.text import printable

INTERVAL = 1.0
"""Seconds between two requests."""

PATIENCE = 1.0
"""Seconds that one request may take. A daemon that does not answer is asked again, not waited for."""


def watch(read_screen: Callable[[], Sequence[Table]]) -> None:
    """Draw the tables that `read_screen` returns each second, until Ctrl-C.

    While it raises `CdcError`, the last screen stays below the error. In a pipe each screen is written below the last.
    """
    screens = _Screens(read_screen)
    try:
        if sys.stdout.isatty():
            with Live(console=Console(highlight=False), screen=True, auto_refresh=False) as live:
                while True:
                    live.update(Group(*screens.next()), refresh=True)
                    time.sleep(INTERVAL)
        while True:
            for table in (*screens.next(), Table.grid()):
                show_table(table)
            sys.stdout.flush()
            time.sleep(INTERVAL)
    except KeyboardInterrupt:
        return


class _Screens:
    def __init__(self, read: Callable[[], Sequence[Table]]) -> None:
        self._read = read
        self._last: Sequence[Table] = ()
        self._answered: float | None = None

    def next(self) -> Sequence[Table]:
        try:
            self._last = self._read()
        except CdcError as error:
            since = "" if self._answered is None else f" for {format_age(time.monotonic() - self._answered)}"
            heading = Table.grid()
            heading.add_row(Text(f"The daemon does not answer{since}: {printable(error.message)}", style="bold red"))
            if error.hint:
                heading.add_row(Text(printable(error.hint)))
            return [heading, Table.grid(), *self._last]
        self._answered = time.monotonic()
        return self._last
