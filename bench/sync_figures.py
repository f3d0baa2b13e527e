"""The measurements of `bench sync` by run, and the figures made from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench.figures import Figures


@dataclass(frozen=True, slots=True)
class Run:
    """One caller's requests one after another, and right after them the same work without a daemon: seconds each."""

    requests: Sequence[float]
    plain: Sequence[float]

    def __str__(self) -> str:
        return f"p50 {_quantile(self.requests, 0.5) * 1e3:.1f} ms, ceiling {_quantile(self.plain, 0.5) * 1e3:.1f} ms"


@dataclass(frozen=True, slots=True)
class Requests:
    """The runs of one size of request under one load."""

    load: str
    ids: int
    runs: Sequence[Run]

    def figures(self) -> dict[str, Figures]:
        """Return what people compare, each with its spread over the runs."""
        plain = [_quantile(run.plain, 0.5) for run in self.runs]
        return {
            "p50 ms": Figures([_quantile(run.requests, 0.5) * 1e3 for run in self.runs]),
            "p99 ms": Figures([_quantile(run.requests, 0.99) * 1e3 for run in self.runs]),
            "requests/s": Figures([len(run.requests) / sum(run.requests) for run in self.runs]),
            "ids/s": Figures([self.ids * len(run.requests) / sum(run.requests) for run in self.runs]),
            "ceiling, p50 ms": Figures([seconds * 1e3 for seconds in plain]),
            "ceiling, ids/s": Figures([self.ids / seconds for seconds in plain]),
            "share of the ceiling": Figures(
                [seconds / _quantile(run.requests, 0.5) for seconds, run in zip(plain, self.runs, strict=True)]
            ),
        }


@dataclass(frozen=True, slots=True)
class Freshness:
    """Seconds from a single write's acknowledgement until its document is there, beside a busy tail, by run."""

    alone: Sequence[Sequence[float]]
    beside_requests: Sequence[Sequence[float]]

    def figures(self) -> dict[str, Figures]:
        """Return what people compare, each with its spread over the runs."""
        alone = [_quantile(each, 0.99) for each in self.alone]
        beside = [_quantile(each, 0.99) for each in self.beside_requests]
        return {
            "alone, p50 ms": Figures([_quantile(each, 0.5) * 1e3 for each in self.alone]),
            "alone, p99 ms": Figures([seconds * 1e3 for seconds in alone]),
            "beside requests, p50 ms": Figures([_quantile(each, 0.5) * 1e3 for each in self.beside_requests]),
            "beside requests, p99 ms": Figures([seconds * 1e3 for seconds in beside]),
            "p99, times that of alone": Figures([other / one for one, other in zip(alone, beside, strict=True)]),
        }


@dataclass(frozen=True, slots=True)
class SyncFigures:
    """What was measured. `rates` are the busy tail's changes a second, by run."""

    requests: Sequence[Requests]
    freshness: Freshness
    rates: Figures

    def rows(self) -> Iterator[tuple[str, Figures]]:
        """Return each figure with its name."""
        for each in self.requests:
            for name, figures in each.figures().items():
                yield f"{each.load}, {each.ids} ids: {name}", figures
        for name, figures in self.freshness.figures().items():
            yield f"freshness {name}", figures
        yield "busy tail, changes/s", self.rates

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for machines."""
        return {name: figures.as_dict() for name, figures in self.rows()}


def _quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
