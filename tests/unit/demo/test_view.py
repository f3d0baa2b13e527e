from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence
from typing import Any, cast

import pytest
from rich.console import Console

from sandbox.demo.board import Board, Numbers, State
from sandbox.demo.freshness import Percentiles
from sandbox.demo.play import make_board
from sandbox.demo.view import LiveView, PlainView, figures, make_view, picture

_NUMBERS = Numbers(
    written=12_345,
    writes_per_second=299.6,
    documents=4_321,
    lag=0.084,
    pending=12,
    backlog=2048,
    undisturbed=Percentiles(100, 0.081, 0.142, 0.2),
    all=Percentiles(200, 0.09, 12.0, 15.0),
    recent=[0.04, 0.08, 0.3, 12.0],
)


class _Filled:
    """Stands in for writer, probes and watch."""

    total = 1_000
    lag = 0.1
    documents = 10
    status: dict[str, Any] | None = None
    undisturbed_times: Sequence[float] = ()
    times: Sequence[float] = (0.1, 0.2)
    recent: Sequence[float] = [0.1, 12.0] * 200


def _filled() -> Board:
    board = make_board()
    board.writer = board.probes = board.watch = cast("Any", _Filled())
    return board


def _draw(board: Board, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, highlight=False)
    console.print(picture(board))
    return cast("io.StringIO", console.file).getvalue()


def test_figures_for_people() -> None:
    assert dict(figures(_NUMBERS)) == {
        "changes": "12,345",
        "a second": "300",
        "documents": "4,321",
        "pending": "12",
        "backlog": "2 KiB",
        "lag": "84 ms",
        "p50": "81 ms",
        "p99": "142 ms",
    }


def test_what_is_not_known_is_not_made_up() -> None:
    numbers = _filled().numbers()

    assert numbers is not None
    assert numbers.pending is None
    assert dict(figures(numbers))["pending"] == "?"
    assert dict(figures(numbers))["p99"] == "200 ms"


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_picture_fits_the_terminal(width: int) -> None:
    board = _filled()
    with board.step(0) as step:
        step.note = "a very long note that says more than any terminal could ever show in one line " * 3

    lines = Console().render_str(_draw(board, width)).plain.splitlines()

    assert len(lines) == len(board.steps) + 7
    assert "start the servers" in lines[1]
    assert "1,000" in lines[-4]


def test_steps_are_done_or_failed() -> None:
    board = make_board()
    with board.step(0):
        assert board.steps[0].state is State.ACTIVE
    with pytest.raises(OSError, match="no"), board.step(1):
        raise OSError("no")

    assert [step.state for step in board.steps[:3]] == [State.DONE, State.FAILED, State.WAITING]
    assert board.steps[2].seconds == 0
    assert "✗" in _draw(board, 100)


async def test_plain_lines_have_no_escape_codes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr("sandbox.demo.view._LINE_EVERY", 0.0)
    board = _filled()
    view = make_view(board)
    assert isinstance(view, PlainView)

    with view:
        running = asyncio.create_task(view.run())
        with board.step(4) as step:
            await asyncio.sleep(0.15)
            step.note = "killed"
            await asyncio.sleep(0.15)
        running.cancel()

    told = capsys.readouterr().out
    assert "\x1b" not in told
    lines = [line.partition(" ")[2] for line in told.splitlines()]
    assert "kill -9 the daemon ..." in lines
    assert "kill -9 the daemon: killed" in lines
    assert lines[-1].startswith("kill -9 the daemon: done in 0.3 s, killed")
    assert any("changes 1,000" in line for line in lines)


async def test_the_live_picture_ends_with_the_last_state() -> None:
    board = _filled()
    console = Console(file=io.StringIO(), width=100, force_terminal=True, highlight=False)
    with LiveView(board, console) as view:
        running = asyncio.create_task(view.run())
        await asyncio.sleep(0)
        with board.step(7) as step:
            step.note = "EQUAL"
        running.cancel()

    assert "EQUAL" in cast("io.StringIO", console.file).getvalue()
