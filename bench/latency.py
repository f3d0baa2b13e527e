"""Freshness and processor time at steady rates: from a write's acknowledgement until its document can be read."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench import workload
from bench.figures import Figures
from bench.report import Report, machine, versions
from bench.stage import Cpu, Stage, on_stage
from sandbox.artifacts import DEFAULT_CASSANDRA
from sandbox.threads import background

Say = Callable[[str], None]

RATES = (100, 300, 1000)
"""Changes a second."""

_ROWS = 20_000
"""Rows that are changed in turn, so that few changes meet."""

_PROBES = 10_000_000
"""The number of the first row that only probes write."""

_PROBE_PAUSE = 0.03
_POLL = 0.003
_TICK = 0.01
_WARM_UP = 3.0


def measure(
    *,
    seconds: float,
    runs: int,
    search: str,
    say: Say,
    rates: Sequence[int] = RATES,
    against: Path | None = None,
    cassandra: str = DEFAULT_CASSANDRA,
) -> Report:
    """Measure each rate for so many seconds in each run, after one run to warm up, and the daemon without changes.

    With `against`, the daemon of another checkout takes turns on the same servers.
    """
    found: dict[str, list[float]] = defaultdict(list)
    about = [machine()]
    with on_stage(search, against, cassandra) as (stage, names):
        about.append(versions(stage.box))
        about.append(
            f"{seconds:g} s at each rate, {runs} runs after one to warm up; the time from the client's acknowledged "
            "write until GET shows the document"
        )
        probes = _Probes(stage)
        for turn in range(runs + 1):
            for name in names if turn % 2 else reversed(names):
                stage.start(name)
                figures: dict[str, float] = {}
                for rate in rates:
                    figures |= _at_rate(stage, probes, rate, seconds)
                figures["idle, CPU % of a core"] = _idle(stage, seconds)
                stage.stop()
                say(f"run {turn}: {', '.join(f'{what} {value:,.1f}' for what, value in figures.items())}")
                if turn:
                    for what, value in figures.items():
                        found[what if name == names[0] else f"{name}: {what}"].append(value)
        stage.start(names[0])
        probes.one()
        stage.check_equal()
    return Report("freshness and cost at steady rates", about, {what: Figures(each) for what, each in found.items()})


def _at_rate(stage: Stage, probes: _Probes, rate: int, seconds: float) -> dict[str, float]:
    with _changing(stage, rate) as count:
        time.sleep(_WARM_UP)
        meter = Cpu(stage.daemon.pid)
        began, before, spent = time.monotonic(), count(), meter()
        taken = probes.measure(seconds)
        changes, spent = count() - before + len(taken), meter() - spent
        reached = changes / (time.monotonic() - began)
    probes.one()
    return {
        f"{rate}/s, p50 ms": _quantile(taken, 0.5) * 1e3,
        f"{rate}/s, p99 ms": _quantile(taken, 0.99) * 1e3,
        f"{rate}/s, CPU us a change": spent * 1e6 / changes,
        f"{rate}/s, changes/s reached": reached,
    }


def _idle(stage: Stage, seconds: float) -> float:
    time.sleep(1.0)
    meter = Cpu(stage.daemon.pid)
    began, spent = time.monotonic(), meter()
    time.sleep(seconds)
    return (meter() - spent) / (time.monotonic() - began) * 100


class _Probes:
    """Single writes, each followed by reads of its document until it shows the write."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._count = 0

    def measure(self, seconds: float) -> list[float]:
        """Probe for so many seconds; return how long each document took."""
        until = time.monotonic() + seconds
        taken = []
        while time.monotonic() < until:
            taken.append(self.one())
            time.sleep(_PROBE_PAUSE)
        return taken

    def one(self) -> float:
        """Write one row; return the seconds until its document shows it."""
        self._count += 1
        number, run = _PROBES + self._count % 50, self._count
        self._stage.session.execute(self._stage.insert, workload.row(number, run))
        acknowledged = time.perf_counter()
        self._stage.wait(lambda: self._stage.shown(number) == run, "the document of a probe", pause=_POLL)
        return time.perf_counter() - acknowledged


@contextmanager
def _changing(stage: Stage, rate: int) -> Iterator[Callable[[], int]]:
    """Change rows at a rate in a thread; give the number of changes so far."""
    made = 0

    def change(stop: threading.Event) -> None:
        nonlocal made
        began = time.monotonic()
        while not stop.wait(_TICK):
            due = int((time.monotonic() - began) * rate) - made
            futures = [
                stage.session.execute_async(stage.insert, workload.row((made + at) % _ROWS, made)) for at in range(due)
            ]
            for future in futures:
                future.result()
            made += due

    with background(change):
        yield lambda: made


def _quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
