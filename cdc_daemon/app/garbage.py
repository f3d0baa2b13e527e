"""Tunes Python's cyclic garbage collector so that it costs little and does not block the event loop, and measures it.

A collection visits container objects, about 0.2 µs each. With the default thresholds it walks the tens of thousands of
pending entries of a drain again and again, which was a third of the daemon's processor time. Reference counts free
nearly all of the daemon's objects, answers of Cassandra included (`cassandra/request_timer.py`), so collections may be
rare.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from cdc_daemon.telemetry.metrics import Metrics

_THRESHOLDS: Final = (50_000, 20, 50)
"""New container objects before a young collection, young collections before a medium one, medium before a full one.

Python's defaults are 700, 10 and 10. A drain has up to 50,000 keys pending (`pipeline.pending_limit`)."""

_GENERATIONS: Final = ("young", "medium", "full")


def tune() -> None:
    """Make collections rare, and exclude existing objects from them: modules, classes and functions."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)


class CollectorPauses:
    """Counts the collections, and the time for which they stop all threads.

    A collection can begin while any other code runs, also while a metric's lock is held. So nothing but numbers is
    touched there, and `show` exports them.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._began = 0.0
        self._counts = [0] * len(_GENERATIONS)
        self._seconds = [0.0] * len(_GENERATIONS)
        self._shown = [(0, 0.0)] * len(_GENERATIONS)
        self._longest = 0.0

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Measure the collections during a block."""
        gc.callbacks.append(self._note)
        try:
            yield
        finally:
            gc.callbacks.remove(self._note)

    def show(self) -> None:
        """Export what was counted so far."""
        for at, generation in enumerate(_GENERATIONS):
            count, seconds = self._counts[at], self._seconds[at]
            counted, measured = self._shown[at]
            self._metrics.garbage_collections.labels(generation).inc(count - counted)
            self._metrics.garbage_collection_seconds.labels(generation).inc(seconds - measured)
            self._shown[at] = (count, seconds)
        self._metrics.garbage_collection_longest_seconds.set(self._longest)

    def _note(self, phase: str, about: Mapping[str, Any]) -> None:
        if phase == "start":
            self._began = time.perf_counter()
            return
        seconds = time.perf_counter() - self._began
        generation = about["generation"]
        self._counts[generation] += 1
        self._seconds[generation] += seconds
        self._longest = max(self._longest, seconds)
