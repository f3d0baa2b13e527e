"""The data that the demo shows: its steps, the current one, and the numbers."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum

from sandbox.demo.freshness import Percentiles, percentiles
from sandbox.demo.probe import Probes
from sandbox.demo.watch import Watch
from sandbox.demo.writer import Writer

_RATE_SECONDS = 2.0


class State(Enum):
    """How far a step is."""

    WAITING = "waiting"
    ACTIVE = "active"
    DONE = "done"
    FAILED = "failed"


@dataclass(slots=True)
class Step:
    """One step of the demo; times are `time.monotonic()` in seconds."""

    title: str
    state: State = State.WAITING
    note: str = ""
    began: float = 0.0
    ended: float = 0.0

    @property
    def seconds(self) -> float:
        """Return how long the step has taken."""
        if self.state is State.WAITING:
            return 0.0
        return (self.ended or time.monotonic()) - self.began


@dataclass(frozen=True, slots=True)
class Numbers:
    """The figures of one moment. Unknown ones are None; times are in seconds, sizes in bytes."""

    written: int
    writes_per_second: float
    documents: int | None
    lag: float
    pending: int | None
    backlog: int | None
    undisturbed: Percentiles | None
    all: Percentiles | None
    recent: Sequence[float]


@dataclass(slots=True)
class Board:
    """Written by the demo, read by the view."""

    steps: list[Step]
    began: float = field(default_factory=time.monotonic)
    writer: Writer | None = None
    probes: Probes | None = None
    watch: Watch | None = None
    _written: deque[tuple[float, int]] = field(default_factory=deque)

    @contextmanager
    def step(self, at: int) -> Iterator[Step]:
        """Mark a step as active for the time of the block, then as done, or failed by an exception."""
        step = self.steps[at]
        step.state, step.began = State.ACTIVE, time.monotonic()
        try:
            yield step
        except BaseException:
            step.state = State.FAILED
            raise
        else:
            step.state = State.DONE
        finally:
            step.ended = time.monotonic()

    def numbers(self) -> Numbers | None:
        """Return the current figures, or None before the first."""
        if self.writer is None or self.probes is None or self.watch is None:
            return None
        status = self.watch.status or {}
        return Numbers(
            written=self.writer.total,
            writes_per_second=self._rate(self.writer.total),
            documents=self.watch.documents,
            lag=self.probes.lag,
            pending=status.get("pending"),
            backlog=status.get("backlog", {}).get("bytes"),
            undisturbed=percentiles(self.probes.undisturbed_times),
            all=percentiles(self.probes.times),
            recent=self.probes.recent,
        )

    def _rate(self, written: int) -> float:
        now = time.monotonic()
        self._written.append((now, written))
        while len(self._written) > 2 and now - self._written[0][0] > _RATE_SECONDS:
            self._written.popleft()
        since, before = self._written[0]
        return (written - before) / (now - since) if now > since else 0.0
