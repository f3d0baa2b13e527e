"""A backlog: rows a second, processor time and memory of the daemon, beside a bare script on the same rows."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from bench import workload
from bench.figures import Figures
from bench.report import Report, machine, versions
from bench.stage import Cpu, Stage, on_stage, peak_memory

Say = Callable[[str], None]

_BARE_INDEX = "bench-bare"


def measure(*, rows: int, runs: int, search: str, say: Say, against: Path | None = None) -> Report:
    """Drain a backlog of `rows` changed rows `runs` times, after one time to warm up.

    The bare script handles the same rows before or after each run, in turn. With `against`, the daemon of another
    checkout takes turns on the same servers.
    """
    found: dict[str, list[float]] = defaultdict(list)
    about = [machine()]
    with on_stage(search, against) as (stage, names):
        about.append(versions(stage.box))
        about.append(f"{rows:,} changed rows of {len(workload.COLUMNS)} columns, {runs} runs after one to warm up")
        number = 0
        for turn in range(runs + 1):
            for name in names if turn % 2 else reversed(names):
                number += 1
                say(f"run {turn}: writing {rows:,} rows")
                stage.write(range(rows), number)
                time.sleep(1.0)  # the last rows are in the log then
                # In turn, because Cassandra flushes and compacts what was just written beside the first of the two.
                if number % 2:
                    figures = _drain(stage, name, rows, number) | _copy(stage, rows, number)
                else:
                    figures = _copy(stage, rows, number) | _drain(stage, name, rows, number)
                figures["rows/s beside the bare script"] = figures["rows/s"] / figures["bare script, rows/s"]
                say(f"run {turn}: {', '.join(f'{what} {value:,.2f}' for what, value in figures.items())}")
                if turn:
                    for what, value in figures.items():
                        found[what if name == names[0] else f"{name}: {what}"].append(value)
        stage.start(names[0])
        stage.check_equal()
    return Report("drain of a backlog", about, {what: Figures(values) for what, values in found.items()})


def _drain(stage: Stage, name: str, rows: int, run: int) -> dict[str, float]:
    began = time.perf_counter()
    stage.start(name)
    running = time.perf_counter()
    own = Cpu(stage.daemon.pid)
    servers = stage.server_cpus
    started = own()
    before = {each: meter() for each, meter in servers.items()}
    stage.wait_settled(rows - 1, run)
    ended = time.perf_counter()
    spent = own()
    figures = {
        "rows/s": rows / (ended - running),
        "rows/s from process start": rows / (ended - began),
        "daemon, CPU us a row": (spent - started) * 1e6 / rows,
        "daemon, CPU us a row from process start": spent * 1e6 / rows,
        **{f"{each}, CPU us a row": (meter() - before[each]) * 1e6 / rows for each, meter in servers.items()},
        "peak memory, MB": peak_memory(stage.daemon.pid),
    }
    stage.check_run(rows, run)
    stage.stop()
    return figures


def _copy(stage: Stage, rows: int, run: int) -> dict[str, float]:
    stage.search(f"/{_BARE_INDEX}", "DELETE")
    servers = stage.server_cpus
    before = {each: meter() for each, meter in servers.items()}
    port, url = str(stage.box.cassandra.port), stage.box.elasticsearch.url
    command = [sys.executable, "-m", "bench.bare", port, url, _BARE_INDEX, str(rows)]
    ran = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    spent = {each: meter() - before[each] for each, meter in servers.items()}
    stage.check_run(rows, run, _BARE_INDEX)
    return {
        "bare script, rows/s": rows / ran["wall"],
        "bare script, CPU us a row": ran["cpu"] * 1e6 / rows,
        **{f"bare script, {each}, CPU us a row": seconds * 1e6 / rows for each, seconds in spent.items()},
    }
