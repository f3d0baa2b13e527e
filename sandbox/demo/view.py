"""The display of the demo: a live picture on a terminal, plain lines with the time of day elsewhere."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from sandbox.demo.board import Board, Numbers, State, Step
from sandbox.demo.freshness import Percentiles, spell

_LIVE_EVERY = 0.25
_LINE_EVERY = 5.0
_PLAIN_EVERY = 0.1
_SYMBOLS = {
    State.WAITING: ("·", "dim"),
    State.ACTIVE: ("▶", "bold cyan"),
    State.DONE: ("✓", "green"),
    State.FAILED: ("✗", "bold red"),
}
_BARS = "▁▂▃▄▅▆▇█"
_BAR_LIMITS = (0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0)
"""Seconds up to which a bar has each of the lower heights: fine where a healthy daemon is."""
_BARS_SHOWN = 56
_WIDTH = 96


class View(Protocol):
    """Shows a board for the time of its `with` block, while `run` is running."""

    def __enter__(self) -> Self:
        """Begin."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        ...

    async def run(self) -> None:
        """Show what changes, until cancelled."""
        ...


def make_view(board: Board) -> View:
    """Return the live picture when standard output is a terminal that can show it, else plain lines."""
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    console = Console(highlight=False)
    if sys.stdout.isatty() and not console.is_dumb_terminal and encoding == "utf8":
        return LiveView(board, console)
    return PlainView(board)


class LiveView:
    """The picture, drawn from the event loop itself: no thread of it disturbs what is measured."""

    def __init__(self, board: Board, console: Console) -> None:
        self._board = board
        self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.update(picture(self._board), refresh=True)
        self._live.stop()

    async def run(self) -> None:
        """Draw four times a second, until cancelled."""
        while True:
            self._live.update(picture(self._board), refresh=True)
            await asyncio.sleep(_LIVE_EVERY)


class PlainView:
    """A line for each event, and one with the figures every few seconds."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._told = [(State.WAITING, "")] * len(board.steps)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tell_steps()

    async def run(self) -> None:
        """Write lines until cancelled."""
        figures_at = time.monotonic() + _LINE_EVERY
        while True:
            self._tell_steps()
            if time.monotonic() >= figures_at:
                figures_at += _LINE_EVERY
                if (numbers := self._board.numbers()) is not None:
                    _line(f"  {' | '.join(f'{name} {value}' for name, value in figures(numbers))}")
            await asyncio.sleep(_PLAIN_EVERY)

    def _tell_steps(self) -> None:
        for at, step in enumerate(self._board.steps):
            before, note = self._told[at]
            if (before, note) == (step.state, step.note):
                continue
            self._told[at] = (step.state, step.note)
            if step.state is State.ACTIVE:
                _line(f"{step.title}: {step.note}" if step.note else f"{step.title} ...")
            elif step.state is not State.WAITING:
                done = f"{step.state.value} in {step.seconds:.1f} s"
                _line(f"{step.title}: {done}{f', {step.note}' if step.note else ''}")


def _line(text: str) -> None:
    print(f"{datetime.now().astimezone():%H:%M:%S} {text}", flush=True)


def picture(board: Board) -> RenderableType:
    """Return the whole picture of the board."""
    steps = Table.grid(padding=(0, 1), expand=True)
    steps.add_column(width=1)
    steps.add_column(no_wrap=True)
    steps.add_column(ratio=1, overflow="ellipsis", no_wrap=True)
    steps.add_column(justify="right", width=7)
    for step in board.steps:
        steps.add_row(*_step_cells(step))
    parts: list[RenderableType] = [steps]
    if (numbers := board.numbers()) is not None:
        parts += [Text(), _figures_table(numbers), Text(), _bars(numbers.recent)]
    elapsed = int(time.monotonic() - board.began)
    title = Text.assemble(("cdc-daemon", "bold"), "  Cassandra to search")
    return Panel(
        Group(*parts),
        title=title,
        title_align="left",
        subtitle=f"{elapsed // 60}:{elapsed % 60:02}",
        subtitle_align="right",
        width=_WIDTH,
        border_style="dim",
    )


def _step_cells(step: Step) -> tuple[Text, Text, Text, Text]:
    symbol, style = _SYMBOLS[step.state]
    seconds = f"{step.seconds:.1f} s" if step.state is not State.WAITING else ""
    return (
        Text(symbol, style),
        Text(step.title, "bold" if step.state is State.ACTIVE else style if step.state is State.WAITING else ""),
        Text(step.note, "cyan" if step.state is State.ACTIVE else "dim"),
        Text(seconds, "dim"),
    )


def _figures_table(numbers: Numbers) -> Table:
    table = Table.grid(padding=(0, 2), expand=True)
    columns = figures(numbers)
    for _ in columns:
        table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_row(*(Text(name, "dim") for name, _ in columns))
    table.add_row(*(Text(value, "bold") for _, value in columns))
    return table


def figures(numbers: Numbers) -> list[tuple[str, str]]:
    """Return names and values of the figures, both as text."""
    return [
        ("changes", f"{numbers.written:,}"),
        ("a second", f"{numbers.writes_per_second:.0f}"),
        ("documents", _known(numbers.documents)),
        ("pending", _known(numbers.pending)),
        ("backlog", "?" if numbers.backlog is None else f"{numbers.backlog / 1024:,.0f} KiB"),
        ("lag", spell(numbers.lag)),
        *_freshness(numbers.undisturbed or numbers.all),
    ]


def _freshness(times: Percentiles | None) -> list[tuple[str, str]]:
    return [("p50", "-" if times is None else spell(times.p50)), ("p99", "-" if times is None else spell(times.p99))]


def _known(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _bars(recent: Sequence[float]) -> Text:
    shown = list(recent)[-_BARS_SHOWN:]
    text = Text("each probe ", "dim", no_wrap=True, overflow="ellipsis")
    for seconds in shown:
        height = sum(seconds > limit for limit in _BAR_LIMITS)
        text.append(_BARS[height], "green" if seconds <= 0.25 else "yellow" if seconds <= 1 else "red")
    return text.append(f"  {spell(shown[-1])}" if shown else "", "dim")
