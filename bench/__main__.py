"""`python -m bench`: the commands behind the published figures."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import structlog
import typer

from bench import bulk, cost, decode, drain, drift, kills, latency, page, ring, stalls, swap, sync, tables
from sandbox import Sandbox
from sandbox.artifacts import DEFAULT_CASSANDRA
from sandbox.engines import DEFAULT_ENGINE

app = typer.Typer(help="Measure cdc-daemon on real servers on this machine.", no_args_is_help=True)


@app.callback()
def main() -> None:
    """Measure cdc-daemon on real servers on this machine."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))


@app.command("bulk")
def measure_bulk(
    documents: Annotated[int, typer.Option(min=1000, help="documents a run")] = 20_000,
    runs: Annotated[int, typer.Option(min=3, help="runs of each side, after the warm-ups")] = 5,
    url: Annotated[str | None, typer.Option(help="an Elasticsearch that is up; by default one is started")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,  # noqa: FBT002  a flag
) -> None:
    """Write documents to Elasticsearch: the bulk writer beside prebuilt bodies over bare connections."""
    with ExitStack() as stack:
        if url is None:
            url = stack.enter_context(Sandbox(cassandra=None, elasticsearch_heap="1g")).elasticsearch.url
        figures = asyncio.run(bulk.measure(url, documents=documents, runs=runs))
    rows = {
        "bulk writer, documents/s": figures.writer,
        "ceiling, documents/s": figures.ceiling,
        "ratio of neighbouring runs": figures.ratios,
        "bulk writer, CPU us/document": figures.writer_cpu,
        "ceiling, CPU us/document": figures.ceiling_cpu,
        "own code, us/document": figures.own_code,
    }
    if as_json:
        print(json.dumps({name: row.as_dict() for name, row in rows.items()}, indent=2))
        return
    print(f"{documents} documents of {figures.document_bytes:.0f} bytes, {runs} runs, {bulk.CONNECTIONS} connections")
    for name, row in rows.items():
        print(f"{name:32} {row}")


@app.command("decode")
def measure_decode(
    mutations: Annotated[int, typer.Option(min=10_000, help="mutations in the log")] = 200_000,
    runs: Annotated[int, typer.Option(min=3, help="runs of each reader, after two to warm up")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,  # noqa: FBT002  a flag
) -> None:
    """Decode a commit log: key-first and fully, beside Cassandra's own reader on the same files."""
    figures = decode.measure(mutations=mutations, runs=runs, say=lambda line: print(line, file=sys.stderr))
    rows = figures.rows()
    if as_json:
        print(json.dumps({name: row.as_dict() for name, row in rows.items()}, indent=2))
        return
    print(f"{figures.mutations} mutations, {figures.megabytes:.0f} MB, {runs} runs, one thread each")
    for name, row in rows.items():
        print(f"{name:34} {row}")


@app.command("kills")
def kill_again_and_again(
    times: Annotated[int, typer.Option(min=1, help="how often the daemon is killed")] = 20,
    rate: Annotated[float, typer.Option(min=1, help="changes a second")] = 400,
    seed: Annotated[int | None, typer.Option(help="of the random moments; by default another one each time")] = None,
) -> None:
    """Kill the daemon with -9 at random moments under load; exit code 0 only if all is equal at the end."""
    seed = time.time_ns() % 1_000_000 if seed is None else seed
    print(f"seed {seed}", flush=True)
    try:
        found = kills.run(times=times, rate=rate, seed=seed, say=lambda line: print(line, flush=True))
    except kills.NotSettledError as error:
        print(f"NOT EQUAL: {error}")
        raise typer.Exit(1) from None
    print("\n".join(map(str, found)))
    equal = all(comparison.is_equal for comparison in found)
    print("EQUAL" if equal else "NOT EQUAL")
    raise typer.Exit(0 if equal else 1)


@app.command("sync")
def measure_sync(
    rows: Annotated[int, typer.Option(min=5000, help="rows in the table")] = 20_000,
    rate: Annotated[float, typer.Option(min=1, help="changes a second of the busy tail")] = 1000,
    seconds: Annotated[float, typer.Option(min=1, help="how long each size is asked for in a run")] = 5,
    runs: Annotated[int, typer.Option(min=3, help="runs of each size and load, after one to warm up")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,  # noqa: FBT002  a flag
) -> None:
    """Ask for rows by name, idle and beside a busy tail, beside a plain read and write of the same ids."""
    figures = sync.measure(
        rows=rows, rate=rate, seconds=seconds, runs=runs, say=lambda line: print(line, file=sys.stderr, flush=True)
    )
    if as_json:
        print(json.dumps(figures.as_dict(), indent=2))
        return
    print(
        f"{rows} rows of {sync.FIELDS} fields, {runs} runs; one caller; the ceiling has {sync.CONNECTIONS} connections"
    )
    for name, row in figures.rows():
        print(f"{name:44} {row}")


@app.command("stalls")
def measure_stalls(
    requests: Annotated[int, typer.Option(min=1, max=32, help="requests at once")] = 20,
    ids: Annotated[int, typer.Option(min=1, max=10_000, help="ids of each request")] = 5000,
    runs: Annotated[int, typer.Option(min=3, help="runs")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,  # noqa: FBT002  a flag
) -> None:
    """Send many large requests for rows at once: the longest round of the event loop. No server takes part."""
    figures = stalls.measure(requests=requests, ids=ids, runs=runs)
    if as_json:
        print(json.dumps({"longest round, ms": figures.as_dict()}, indent=2))
        return
    print(f"{requests} requests of {ids} ids at once, {runs} runs")
    print(f"{'longest round, ms':20} {figures}")


def _measure_tables(kind: str, rows: int, runs: int, as_json: bool) -> None:  # noqa: FBT001  a flag
    figures = tables.measure(kind, rows=rows, runs=runs, say=lambda line: print(line, file=sys.stderr))
    named = {f"{kind}, rows/s": figures.job, "ceiling, rows/s": figures.ceiling, "ratio": figures.ratios}
    if as_json:
        print(json.dumps({name: row.as_dict() for name, row in named.items()}, indent=2))
        return
    for name, row in named.items():
        print(f"{name:20} {row}")


@app.command("backfill")
def measure_backfill(
    rows: Annotated[int, typer.Option(min=1000, help="rows in the table")] = 100_000,
    runs: Annotated[int, typer.Option(min=3, help="runs of each side, after one to warm up")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,  # noqa: FBT002  a flag
) -> None:
    """Backfill a table, beside a bare token scan and bulk write of the same rows."""
    _measure_tables("backfill", rows, runs, as_json)


@app.command("reconcile")
def measure_reconcile(
    rows: Annotated[int, typer.Option(min=1000, help="rows in the table")] = 100_000,
    runs: Annotated[int, typer.Option(min=3, help="runs of each side, after one to warm up")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,  # noqa: FBT002  a flag
) -> None:
    """Reconcile a table with its documents, both ways, beside a bare token scan and bulk write of the same rows."""
    _measure_tables("reconcile", rows, runs, as_json)


@app.command("drift")
def find_drift(
    rows: Annotated[int, typer.Option(min=1000, help="rows in the table")] = 200_000,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,  # noqa: FBT002  a flag
) -> None:
    """Plant drift of each kind and reconcile; exit code 0 only if exactly this drift is found and repaired."""
    figures = drift.measure(rows=rows, say=lambda line: print(line, file=sys.stderr, flush=True))
    if as_json:
        print(json.dumps(asdict(figures), indent=2))
    else:
        for name, counts in (("planted", figures.planted), ("found", figures.found), ("left", figures.left)):
            print(f"{name:8}", ", ".join(f"{count:,} {kind}" for kind, count in counts.items()))
        for mistaken in figures.mistaken:
            print(f"mistaken: {mistaken}")
        for count, peak in figures.peaks.items():
            print(f"peak     {peak:.0f} MiB at {count:,} rows")
        print("EXACT" if figures.exact else "NOT EXACT")
    raise typer.Exit(0 if figures.exact else 1)


@app.command("swap")
def measure_swap(
    rows: Annotated[int, typer.Option(min=1000, help="rows in the table")] = 200_000,
    rate: Annotated[float, typer.Option(min=1, help="changes a second meanwhile")] = 200,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,  # noqa: FBT002  a flag
) -> None:
    """Move a table to a fresh index and back, under changes and searches; exit code 0: equal, and no search failed."""
    figures = swap.measure(rows=rows, rate=rate, say=lambda line: print(line, file=sys.stderr, flush=True))
    if as_json:
        print(json.dumps(figures.as_dict(), indent=2))
    else:
        for name, value in figures.as_dict().items():
            print(f"{name.replace('_', ' '):24} {value}")
        for failure in figures.failed[:5]:
            print(f"failed: {failure}")
    raise typer.Exit(0 if figures.is_good else 1)


_Search = Annotated[str, typer.Option(help="the search engine, such as opensearch:2.19.5")]
_Against = Annotated[
    Path | None, typer.Option(help="the cdc-daemon of another checkout, which takes turns on the same servers")
]


@app.command("drain")
def measure_drain(
    rows: Annotated[int, typer.Option(min=1000, help="changed rows of the backlog")] = 100_000,
    runs: Annotated[int, typer.Option(min=1, help="runs of each side, after one to warm up")] = 3,
    search: _Search = DEFAULT_ENGINE,
    against: _Against = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,  # noqa: FBT002  a flag
) -> None:
    """Drain a backlog, beside a bare script that reads the same rows and writes them in bulk."""
    drain.measure(rows=rows, runs=runs, search=search, say=_say, against=against).print(as_json=as_json)


@app.command("latency")
def measure_latency(
    *,
    seconds: Annotated[float, typer.Option(min=5, help="how long each rate is measured in a run")] = 15,
    runs: Annotated[int, typer.Option(min=1, help="runs, after one to warm up")] = 3,
    search: _Search = DEFAULT_ENGINE,
    cassandra: Annotated[str, typer.Option(help="the version of Cassandra, such as 3.11")] = DEFAULT_CASSANDRA,
    rates: Annotated[list[int] | None, typer.Option("--rate", help="changes a second, instead of all three")] = None,
    against: _Against = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Measure freshness and processor time at 100, 300 and 1,000 changes a second, and without changes."""
    latency.measure(
        seconds=seconds,
        runs=runs,
        search=search,
        say=_say,
        against=against,
        cassandra=cassandra,
        rates=rates or latency.RATES,
    ).print(as_json=as_json)


@app.command("cost")
def measure_cost(
    quick: Annotated[bool, typer.Option("--quick", help="fewer rounds: a look before a commit")] = False,  # noqa: FBT002  a flag
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,  # noqa: FBT002  a flag
) -> None:
    """Measure the processor time of a change on the pure code paths, without servers."""
    cost.measure(runs=5 if quick else 15, rounds=40 if quick else 100).print(as_json=as_json)


@app.command("ring")
def measure_ring(
    rate: Annotated[int, typer.Option(min=1, help="changes a second")] = 200,
    seconds: Annotated[float, typer.Option(min=3, help="how long rows are changed in calm, and before a restart")] = 60,
    runs: Annotated[int, typer.Option(min=1, help="runs of each mode")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,  # noqa: FBT002  a flag
) -> None:
    """Measure what three nodes with three daemons cost beside one, in both modes, in calm and over a node restart."""
    ring.measure(rate=rate, seconds=seconds, runs=runs, say=_say).print(as_json=as_json)


@app.command("all")
def measure_all(
    rows: Annotated[int, typer.Option(min=1000, help="changed rows of the backlog")] = 100_000,
    seconds: Annotated[float, typer.Option(min=5, help="how long each rate is measured in a run")] = 15,
    runs: Annotated[int, typer.Option(min=1, help="runs of each side, after one to warm up")] = 3,
    search: _Search = DEFAULT_ENGINE,
) -> None:
    """Measure cost, drain and latency, and write the figures into docs/performance.md."""
    reports = [
        cost.measure(runs=15, rounds=100),
        drain.measure(rows=rows, runs=runs, search=search, say=_say),
        latency.measure(seconds=seconds, runs=runs, search=search, say=_say),
    ]
    for report in reports:
        report.print(as_json=False)
    page.PAGE.write_text(page.with_figures(page.PAGE.read_text(encoding="utf-8"), reports), encoding="utf-8")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    app()
