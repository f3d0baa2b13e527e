"""Simulates the ring for many seeds on all cores: `python -m tests.simulation.ring_seeds 10000`, or one with --only."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

import structlog

from tests.simulation.ring_scenarios import trouble
from tests.simulation.virtual_time import virtual_time

PORTION = 50


def failing(seeds: Sequence[int]) -> list[int]:
    """Return the seeds after which the index differs from the rows, or a daemon never finishes."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    found = []
    for seed in seeds:
        with virtual_time() as run:
            if not run(trouble(seed)):
                found.append(seed)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line with the command that replays it for each failing seed; return 1 if there is any."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seeds", type=int, nargs="?", default=10_000, help="how many seeds (default: 10000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--only", type=int, help="run this seed alone, with the daemons' log")
    given = parser.parse_args(arguments)
    if given.only is not None:
        with virtual_time() as run:
            equal = run(trouble(given.only))
        sys.stdout.write(f"seed {given.only}: {'equal' if equal else 'NOT EQUAL'}\n")
        return int(not equal)
    began, bad = time.perf_counter(), 0
    last = given.first + given.seeds
    portions = [range(start, min(start + PORTION, last)) for start in range(given.first, last, PORTION)]
    with ProcessPoolExecutor() as processes:
        for found in processes.map(failing, portions):
            for seed in found:
                bad += 1
                sys.stdout.write(f"seed {seed} fails: python -m tests.simulation.ring_seeds --only {seed}\n")
                sys.stdout.flush()
    seconds = time.perf_counter() - began
    rate = given.seeds / seconds
    sys.stdout.write(f"{given.seeds} seeds, {bad} failed, {seconds:.0f} s, {rate:.0f} seeds a second\n")
    return int(bad > 0)


if __name__ == "__main__":
    raise SystemExit(main())
