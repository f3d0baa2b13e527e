"""`python -m bench.torture`: the run, its verdict and its report."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Annotated

import structlog
import typer

from bench.torture import report as reports
from bench.torture.plan import KINDS, make_plan
from bench.torture.run import run
from sandbox.artifacts import DEFAULT_CASSANDRA
from sandbox.engines import DEFAULT_ENGINE


def main(  # noqa: PLR0917 -- the command line's order
    minutes: Annotated[float, typer.Option(min=0.2, help="how long load and faults last")] = 30.0,
    seed: Annotated[int | None, typer.Option(help="of the plan and the load; by default another one each time")] = None,
    search: Annotated[str, typer.Option(help="the search engine, such as opensearch:2.19.5")] = DEFAULT_ENGINE,
    cassandra: Annotated[str, typer.Option(help="the version of Cassandra")] = DEFAULT_CASSANDRA,
    rate: Annotated[float, typer.Option(min=1, help="changes a second")] = 30.0,
    only: Annotated[list[str] | None, typer.Option(help="the kinds of faults, or beginnings of their names")] = None,
    report: Annotated[
        Path | None, typer.Option(help="write the report to this page, and the picture beside it")
    ] = None,
    plan_only: Annotated[bool, typer.Option("--plan", help="print the plan and start nothing")] = False,  # noqa: FBT002
    as_json: Annotated[bool, typer.Option("--json", help="print JSON at the end")] = False,  # noqa: FBT002  a flag
) -> None:
    """Torture the daemon on real servers; exit code 0 only if all is equal at the end."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    logging.getLogger("cassandra").setLevel(logging.CRITICAL)
    seed = time.time_ns() % 1_000_000 if seed is None else seed
    kinds = [kind for kind in KINDS if not only or kind.startswith(tuple(only))]
    if not kinds:
        raise typer.BadParameter(f"expected beginnings of {', '.join(KINDS)}")
    if plan_only:
        print(json.dumps([fault.plain() for fault in make_plan(seed, minutes * 60, kinds)], indent=2))
        return
    print(f"seed {seed}", flush=True)
    outcome = run(
        minutes=minutes,
        seed=seed,
        search=search,
        cassandra=cassandra,
        rate=rate,
        kinds=kinds,
        say=lambda line: print(line, flush=True),
    )
    print("\n".join(map(str, outcome.compared)))
    print(f"changes that failed: {outcome.failed}, statements that were refused: {outcome.refused}")
    for problem in outcome.problems:
        print(f"- {problem}")
    if report is not None:
        reports.write(outcome, report)
    if as_json:
        print(json.dumps(reports.plain(outcome), indent=2))
    print("EQUAL" if outcome.is_equal else "NOT EQUAL")
    raise typer.Exit(0 if outcome.is_equal else 1)


if __name__ == "__main__":
    typer.run(main)
