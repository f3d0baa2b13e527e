"""What a ring costs beside one node: documents, reads, bulk requests and processor time, in calm and over a restart.

One node with one daemon is the single copy. Three nodes that all hold everything, with three daemons, do the same work
in both modes of `commit_log.ownership`. Each phase changes every row once. What is counted comes from the servers: the
search engine counts documents, versions and bulk requests, Cassandra's nodes count the rows that they were asked for.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from bench.figures import Figures
from bench.report import Report, machine, versions
from bench.ring_stage import BULKS, DOCUMENTS, ROWS_READ, VERSIONS, Ring, ring_of
from bench.stage import NotEqualError

Say = Callable[[str], None]

NODES = (1, 3)
MODES = ("all", "primary")
CALM, RESTART = "calm", "node restart"
CHANGES = "changes"
ALL_DAEMONS = "all daemons, CPU s"
SHOWN, SETTLED = "catch-up until shown, s", "catch-up until confirmed, s"

_COMPARED = (DOCUMENTS, ROWS_READ, VERSIONS, BULKS, ALL_DAEMONS, "all Cassandra nodes, CPU s", "search engine, CPU s")
_AFTER = 3.0
"""Seconds of changes after the node has returned."""

_OF_TIME = " CPU s"
_SINGLE = f"{NODES[0]} node, {MODES[0]}"


def measure(*, rate: int, seconds: float, runs: int, say: Say) -> Report:
    """Measure one and three nodes in both modes: so many seconds in calm, and as many before a node restarts."""
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    about = [machine()]
    number = 0
    for nodes in NODES:
        with ring_of(nodes) as ring:
            if nodes == NODES[0]:
                about.append(versions(ring.box))
            for turn in range(runs):
                for mode in MODES if turn % 2 == 0 else reversed(MODES):
                    ring.start(mode)
                    for phase in (None, CALM, RESTART):  # the first one warms up
                        number += 1
                        figures = _change(ring, rate, seconds if phase else _AFTER, number, restart=phase == RESTART)
                        if phase:
                            name = f"{nodes} {'node' if nodes == 1 else 'nodes'}, {mode}"
                            say(f"run {turn + 1}: {name}, {phase}: {_line(figures)}")
                            found[f"{name}, {phase}"].append(figures)
                    ring.check_equal()
                    ring.stop()
    about.append(
        f"{rate} changes a second for {seconds:g} s in calm, and for {seconds:g} s before, all the time during (with "
        f"three nodes) and {_AFTER:g} s after the restart of a node; {runs} runs; writes at QUORUM, replication factor "
        "1 and 3"
    )
    return Report("cost of a ring", about, rows_of(found))


def _change(ring: Ring, rate: int, seconds: float, run: int, *, restart: bool) -> dict[str, float]:
    """Change rows, wait until all is shown and settled, and return what it cost."""
    before, read = ring.counts(), ring.mutations()
    several = len(ring.daemons) > 1
    changes = 0
    with ring.changing(rate, run) as count:
        time.sleep(seconds)
        if restart and several:
            ring.restart(1)
            time.sleep(_AFTER)
    changes = count()
    if restart and not several:
        ring.restart(0)
    ended = time.monotonic()
    ring.wait_shown(changes, run)
    shown = time.monotonic() - ended
    # Hints may bring the changes to the node that was away long after the others have written them.
    ring.wait(
        lambda: all(now - then >= changes for now, then in zip(ring.mutations(), read, strict=True)), "all changes"
    )
    ring.wait_settled()
    settled = time.monotonic() - ended
    if (found := ring.shown(run)) != changes:
        raise NotEqualError(f"expected {changes} documents of run {run}, found {found}")
    spent = ring.counts()
    spent.subtract(before)
    figures = {name: value / 1e6 if name.endswith(_OF_TIME) else value for name, value in spent.items()}
    figures[ALL_DAEMONS] = _sum(figures, "daemon ")
    figures["all Cassandra nodes, CPU s"] = _sum(figures, "Cassandra ")
    return {CHANGES: changes, **figures, SHOWN: shown, SETTLED: settled}


def rows_of(found: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, Figures]:
    """Return each figure of each case, and those by change beside the single copy's of the same phase and run."""
    rows: dict[str, Figures] = {}
    for case, runs in found.items():
        for name in runs[0]:
            rows[f"{case}: {name}"] = Figures([run[name] for run in runs])
        single = found[f"{_SINGLE}, {case.rpartition(', ')[2]}"]
        for name in _COMPARED if runs is not single else ():
            ratios = [_ratio(name, run, copy) for run, copy in zip(runs, single, strict=True) if copy[name]]
            if ratios:
                rows[f"{case}: {name} a change, beside the single copy"] = Figures(ratios)
    return rows


def _ratio(name: str, run: Mapping[str, float], single: Mapping[str, float]) -> float:
    return (run[name] / run[CHANGES]) / (single[name] / single[CHANGES])


def _sum(figures: Mapping[str, float], prefix: str) -> float:
    return sum(value for name, value in figures.items() if name.startswith(prefix) and name.endswith(_OF_TIME))


def _line(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:,.2f}" for name, value in figures.items())
