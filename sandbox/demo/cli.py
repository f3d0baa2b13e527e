"""`python -m sandbox.demo`: runs the demo; its exit code shows whether it succeeded."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Sequence

import structlog

from cdc_daemon.model.errors import CdcError
from cdc_daemon.telemetry.logs import silence_libraries
from sandbox.artifacts import CASSANDRA_VERSIONS, DEFAULT_CASSANDRA
from sandbox.demo.guide import guide, outlook
from sandbox.demo.play import Options, make_board, play
from sandbox.demo.stage import Stage
from sandbox.demo.view import make_view
from sandbox.engines import DEFAULT_ENGINE, find_engine
from sandbox.errors import SandboxError
from sandbox.signals import heard

EXIT_EQUAL = 0
EXIT_FAILED = 1
EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo.

    Return 0 when all rows and documents were equal in the end and nothing failed on the way, 1 when not, 130
    when it was interrupted.
    """
    chosen = _parser().parse_args(arguments)
    silence_libraries()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        return asyncio.run(_run(chosen))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("interrupted: everything is stopped and removed", file=sys.stderr)
        return EXIT_INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    defaults = Options()
    parser = argparse.ArgumentParser(
        prog="python -m sandbox.demo", description="Cassandra to a search engine before your eyes, on real servers."
    )
    parser.add_argument("--keep", action="store_true", help="leave the servers and the daemon up, to try it by hand")
    parser.add_argument(
        "--seconds", type=_positive, default=defaults.seconds, help="length of the undisturbed phase (%(default)g)"
    )
    parser.add_argument(
        "--search",
        type=_engine,
        default=DEFAULT_ENGINE,
        metavar="ENGINE",
        help="the search engine, such as opensearch:2.19.5; a part of a version does (%(default)s)",
    )
    parser.add_argument(
        "--cassandra", choices=[*CASSANDRA_VERSIONS], default=DEFAULT_CASSANDRA, help="version (%(default)s)"
    )
    parser.add_argument(
        "--rate", type=_positive_integer, default=defaults.rate, help="rows written a second (%(default)s)"
    )
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < 86_400:
        raise argparse.ArgumentTypeError(f"expected a number of seconds above 0, found {text}")
    return value


def _engine(text: str) -> str:
    try:
        find_engine(text)
    except SandboxError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _positive_integer(text: str) -> int:
    value = int(text)
    if not 0 < value <= 100_000:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to 100000, found {text}")
    return value


async def _run(chosen: argparse.Namespace) -> int:
    _end_on_signals()
    stage = Stage(keep=chosen.keep, search=chosen.search, cassandra=chosen.cassandra)
    try:
        return await _show(stage, Options(seconds=chosen.seconds, rate=chosen.rate), keep=chosen.keep)
    finally:
        await asyncio.to_thread(stage.close)


async def _show(stage: Stage, options: Options, *, keep: bool) -> int:
    board = make_board()
    try:
        with make_view(board) as view:
            showing = asyncio.create_task(view.run(), name="view")
            try:
                summary = await play(stage, board, options)
            finally:
                showing.cancel()
    except CdcError as error:
        print(f"\nfailed: {error}", file=sys.stderr)
        is_equal = False
    else:
        print("\n".join(["", *summary.lines()]))
        is_equal = summary.is_equal
    if not is_equal:
        _tell_log(stage)
    if keep and stage.is_up:
        stage.leave()
        print("\n".join(["", *guide(stage)]))
    elif is_equal:
        print("\n".join(["", *outlook()]))
    return EXIT_EQUAL if is_equal else EXIT_FAILED


def _tell_log(stage: Stage) -> None:
    if (saved := stage.save_daemon_log()) is not None:
        print(f"the end of the daemon's log, {saved}:\n{stage.daemon_log_tail()}", file=sys.stderr)


def _end_on_signals() -> None:
    """Make SIGTERM and SIGHUP end the demo as Ctrl-C does."""
    task = asyncio.current_task()
    assert task is not None
    for number in heard(signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
