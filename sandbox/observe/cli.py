"""`python -m sandbox.observe`: its exit code shows whether every query had a result and the alerts fired."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import structlog

from cdc_daemon.model.errors import CdcError
from cdc_daemon.telemetry.logs import silence_libraries
from sandbox.demo.stage import KEPT_NAME, Stage
from sandbox.observe.observation import Observation
from sandbox.signals import heard

EXIT_SEEN = 0
EXIT_FAILED = 1
EXIT_INTERRUPTED = 130

_AFTERWARDS = 60.0
"""Seconds for a picture to show how it goes on when the outage is over."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it. Return 0 if everything was seen, 1 if not, 130 if it was interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m sandbox.observe", description="The dashboard's queries and the alerts, on a real Prometheus."
    )
    parser.add_argument("--keep", action="store_true", help="leave everything up, to look around in Prometheus")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the main panels into an SVG file")
    parser.add_argument("--rate", type=int, default=100, help="rows written a second (%(default)s)")
    chosen = parser.parse_args(arguments)
    silence_libraries()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        return asyncio.run(_run(keep=chosen.keep, rate=chosen.rate, picture=chosen.picture))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("interrupted: everything is stopped and removed", file=sys.stderr)
        return EXIT_INTERRUPTED


async def _run(*, keep: bool, rate: int, picture: Path | None) -> int:
    task = asyncio.current_task()
    assert task is not None
    for number in heard(signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    stage = Stage(keep=keep)
    try:
        observation = Observation(stage, say=_say)
        await observation.run(rate=rate, afterwards=0.0 if picture is None else _AFTERWARDS)
        if picture is not None:
            await asyncio.to_thread(_draw, observation, picture)
        if keep:
            stage.leave()
            _say(f"Prometheus: {observation.prometheus.url}/alerts, the daemon: {stage.daemon_url}/metrics")
            _say(f"stop and remove everything: python -m sandbox down {KEPT_NAME}")
    except CdcError as error:
        print(f"failed: {error}\n{stage.daemon_log_tail()}", file=sys.stderr)
        return EXIT_FAILED
    finally:
        await asyncio.to_thread(stage.close)
    return EXIT_SEEN


def _draw(observation: Observation, picture: Path) -> None:
    picture.parent.mkdir(parents=True, exist_ok=True)
    picture.write_text(observation.picture(), encoding="utf-8")
    _say(f"the main panels: {picture}")


def _say(line: str) -> None:
    print(line, flush=True)
