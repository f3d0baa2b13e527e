"""`cdc-daemon backfill` and `jobs`: jobs on whole tables and scheduled tasks of a running daemon."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Protocol
from urllib.parse import quote

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from cdc_daemon.cli.common import (
    EXIT_FAILED,
    AuthorityOption,
    ConfigOption,
    JsonOption,
    TokenOption,
    UrlOption,
    WaitOption,
    connect_daemon,
)
from cdc_daemon.cli.completion import complete_type
from cdc_daemon.cli.estimate import print_estimate
from cdc_daemon.model.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from cdc_daemon.cli.client import DaemonClient

_LINE_INTERVAL = 30.0
"""Seconds between two lines of progress if standard error is not a terminal."""

app = typer.Typer(
    no_args_is_help=False, help="List jobs on whole tables and scheduled tasks; show a job; cancel a job."
)

TypesArgument = Annotated[
    list[str],
    typer.Argument(metavar="TYPE…", help="Names of mappings, such as user.", autocompletion=complete_type),
]
RateOption = Annotated[
    float | None, typer.Option("--rate", metavar="N", min=0.001, help="The maximum number of rows per second.")
]
DetachOption = Annotated[
    bool, typer.Option("--detach", help="Start the job and return; `cdc-daemon jobs` shows its progress.")
]


def backfill(  # noqa: PLR0917 -- the command line's order
    types: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TYPE…",
            help="Names of mappings, such as user. With --dry-run, none means all.",
            autocompletion=complete_type,
        ),
    ] = None,
    where_token: Annotated[
        list[str] | None,
        typer.Option(
            "--where-token", metavar="FROM:TO", help="Only rows with a token above FROM and up to TO; repeatable."
        ),
    ] = None,
    rate: RateOption = None,
    url: UrlOption = None,
    token_file: TokenOption = None,
    ca_file: AuthorityOption = None,
    wait: WaitOption = 60.0,
    config: ConfigOption = None,
    *,
    new_index: Annotated[
        bool,
        typer.Option(
            "--new-index",
            help="Fill a new index, created as configured now, compare it with the rows, and make it live in place of "
            "the current one.",
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Estimate rows, bytes and time, and say how sure that is; change nothing."),
    ] = False,
    count: Annotated[bool, typer.Option("--count", help="Count the rows exactly; write nothing.")] = False,
    detach: DetachOption = False,
    as_json: JsonOption = False,
) -> None:
    """Read every row of the tables and write its document, while live changes continue.

    The running daemon executes the job. Live changes and requests for rows take precedence, and after a restart the
    job continues where it was. With `--new-index` the daemon writes live changes to both indices. The new index becomes
    live, in one step, only if it equals the rows. The previous index is kept for `cdc-daemon rollback` until
    `cdc-daemon drop-index`.
    `--dry-run` counts a small table and samples a large one, starts no job, and answers within seconds.
    Exit code 0: done, 1: failed or cancelled, or the daemon did not answer, 2: the command line or the configuration
    is wrong.
    """
    client = connect(url, config, token_file, ca_file, wait)
    if new_index and where_token:
        raise ConfigError("expected no --where-token beside --new-index, as a new index needs all rows")
    if count and (dry_run or new_index):
        raise ConfigError("expected --count without --dry-run and --new-index")
    wanted: dict[str, Any] = {"types": types or [], "ranges": where_token or [], "rate": rate}
    if new_index:
        wanted["new_index"] = True
    if dry_run:
        print_estimate(client.estimate(wanted), as_json=as_json)
        return
    if not types:
        raise ConfigError("expected at least one type, found none", hint="only --dry-run is for all types without one")
    wanted["count"] = count
    job = run_job(client, "backfill", wanted, detach=detach)
    if as_json:
        typer.echo(json.dumps(job, indent=2))
    elif detach:
        print_started(job)
    else:
        done = {"done": "counted" if count else "written"}.get(job["state"], job["state"])
        for object_type, rows in job["rows_by_type"].items():
            typer.echo(f"{object_type}: {rows:,} rows {done}")
        for object_type, plan in job["report"].get("new_index", {}).items():
            typer.echo(f"{object_type}: {_describe(plan, object_type)}")
    if not detach and job["state"] != "done":
        print_failed(job)
        raise typer.Exit(EXIT_FAILED)


def _describe(plan: Mapping[str, Any], object_type: str) -> str:
    index, former = plan["index"], plan["in_place_of"]
    if plan["swapped"]:
        return (
            f"{index} has replaced {former}, which is kept: "
            f"`cdc-daemon rollback {object_type}` reverts to it, `cdc-daemon drop-index {object_type}` deletes it"
        )
    if not plan["created"]:
        return f"{former} is still live; no index was created"
    return (
        f"{former} is still live; {index} is kept: repeat the command to continue, "
        f"or delete it with `cdc-daemon drop-index {object_type}`"
    )


@app.callback(invoke_without_command=True)
def jobs(
    context: typer.Context,
    url: UrlOption = None,
    token_file: TokenOption = None,
    ca_file: AuthorityOption = None,
    config: ConfigOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """List the jobs on whole tables with their progress, newest first, and then the scheduled tasks."""
    context.obj = partial(connect, url, config, token_file, ca_file, 10.0)
    if context.invoked_subcommand is not None:
        return
    listed = context.obj().jobs()
    if as_json:
        typer.echo(json.dumps(listed, indent=2))
        return
    console = Console(width=max(100, Console().width))
    console.print(_job_table(listed["jobs"]))
    console.print()
    console.print(_schedule_table(listed["scheduled"]))


def _job_table(jobs: Sequence[Mapping[str, Any]]) -> Table:
    table = Table("job", "kind", "for", "types", "state", "done", "rows", "created", box=None, pad_edge=False)
    table.columns[0].no_wrap = True
    for each in jobs:
        created = _moment(each["created"])
        types = ", ".join(each["options"].get("types", []))
        part = f"{each['fraction']:.1%}"
        table.add_row(
            each["job"], each["kind"], each["origin"], types, each["state"], part, f"{each['rows']:,}", created
        )
    return table


def _schedule_table(scheduled: Sequence[Mapping[str, Any]]) -> Table:
    from cdc_daemon.config.units import format_duration  # noqa: PLC0415  commands start fast

    table = Table(
        *("scheduled task", "interval", "state", "last success", "next", "runs", "failed"), box=None, pad_edge=False
    )
    for each in scheduled:
        state = "running" if each["running"] else "waiting" if each["error"] is None else f"failing: {each['error']}"
        done = _moment(each["succeeded"]) if each["succeeded"] else ""
        due = _moment(each["next"]) if each["next"] else ""
        every = format_duration(each["interval"])
        table.add_row(each["name"], every, state, done, due, f"{each['runs']:,}", f"{each['failures']:,}")
    return table


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat(" ", "seconds")


@app.command("show")
def show(context: typer.Context, job: Annotated[str, typer.Argument(metavar="JOB")]) -> None:
    """Show everything about a job, as JSON."""
    typer.echo(json.dumps(context.obj().job(job), indent=2))


@app.command("cancel")
def cancel(context: typer.Context, job: Annotated[str, typer.Argument(metavar="JOB")]) -> None:
    """Cancel a job. Rows that it has already read are still written."""
    typer.echo(f"{job}: {context.obj().cancel(job)['state']}")


def connect(
    url: str | None, config: Path | None, token_file: Path | None, ca_file: Path | None, wait: float
) -> JobsClient:
    """Return a client for the jobs of the daemon on the command line or in the configuration. Raises `ConfigError`."""
    return JobsClient(connect_daemon(url, config, token_file, ca_file, wait))


class FollowedJobs(Protocol):
    """Starts jobs of a running daemon. Methods raise `CdcError` if the daemon refuses or does not answer."""

    def start(self, kind: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Start a job; return its status."""
        ...

    def follow(self, identity: str) -> Iterator[dict[str, Any]]:
        """Yield the status of a job until it ends."""
        ...


def run_job(client: FollowedJobs, kind: str, wanted: Mapping[str, Any], *, detach: bool) -> dict[str, Any]:
    """Start a job and show its progress until it ends. Return its final status, or its first one with `detach`."""
    accepted = client.start(kind, wanted)
    if detach:
        return accepted
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rows]:,} rows, {task.fields[rate]:,.0f}/s"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    begun: float | None = None
    job = accepted
    console = Console(stderr=True)
    lines = _Lines(console)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        name = f"{kind} {', '.join(wanted['types'])}"
        task = bar.add_task(name, total=1.0, rows=0, rate=0.0)
        try:
            for job in client.follow(accepted["job"]):
                begun = begun or (bar.get_time() if job["started"] else None)
                rate = job["rows"] / max(bar.get_time() - begun, 0.1) if begun else 0.0
                shown = name if job["started"] else f"{name} (waiting for another job)"
                if kind == "backfill" and job["report"].get("types"):
                    shown += " (comparing)"
                lines.write(shown, job)
                bar.update(task, description=shown, completed=job["fraction"], rows=job["rows"], rate=rate)
        except KeyboardInterrupt:
            typer.echo(f"the job continues; to cancel it: cdc-daemon jobs cancel {accepted['job']}", err=True)
            raise
    return job


class _Lines:
    """Progress on a standard error that is not a terminal: a line when the phase changes, and regularly after that."""

    def __init__(self, console: Console) -> None:
        self._quiet = console.is_terminal
        self._last: tuple[str, float] = ("", -math.inf)

    def write(self, shown: str, job: Mapping[str, Any]) -> None:
        """Write the phase and progress of the job, unless a line was written shortly before."""
        now = time.monotonic()
        if self._quiet or (self._last[0] == shown and now < self._last[1] + _LINE_INTERVAL):
            return
        self._last = (shown, now)
        typer.echo(f"{shown}: {job['state']}, {job['fraction']:.0%}, {job['rows']:,} rows", err=True)


def print_started(job: Mapping[str, Any]) -> None:
    """Print the id of a job that the command does not wait for, and how to show it."""
    typer.echo(f"{job['kind']} {job['job']} {job['state']}: cdc-daemon jobs show {job['job']}")


def print_failed(job: Mapping[str, Any]) -> None:
    """Print on standard error that a job failed or was cancelled, and why."""
    reason = f": {job['message']}" if job["message"] else ""
    typer.echo(f"{job['kind']} {job['job']} {job['state']}{reason}", err=True)


FIRST_PAUSE, LONGEST_PAUSE = 0.25, 3.0
"""Seconds between two requests for the status of a job. The pause grows from the first to the second."""


class JobsClient:
    """Requests on the jobs of a daemon. Methods raise `CdcError` if the daemon refuses or does not answer."""

    def __init__(self, client: DaemonClient) -> None:
        self._client = client

    def start(self, kind: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Start a job; return its status."""
        job: dict[str, Any] = self._client.ask("POST", f"/admin/{kind}", wanted)
        return job

    def estimate(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Return the estimate of a backfill, which is not started."""
        estimate: dict[str, Any] = self._client.ask("POST", "/admin/backfill", {**wanted, "dry_run": True})
        return estimate

    def jobs(self, limit: int = 100) -> dict[str, list[dict[str, Any]]]:
        """Return the status of the newest `jobs`, newest first, and of the `scheduled` tasks."""
        listed: dict[str, list[dict[str, Any]]] = self._client.ask("GET", f"/admin/jobs?limit={limit}")
        return listed

    def job(self, identity: str) -> dict[str, Any]:
        """Return the status of a job."""
        job: dict[str, Any] = self._client.ask("GET", f"/admin/jobs/{quote(identity, safe='')}")
        return job

    def cancel(self, identity: str) -> dict[str, Any]:
        """Cancel a job; return its status."""
        job: dict[str, Any] = self._client.ask("POST", f"/admin/jobs/{quote(identity, safe='')}/cancel", {})
        return job

    def follow(self, identity: str) -> Iterator[dict[str, Any]]:
        """Yield the status of a job until it ends, even if the daemon restarts meanwhile."""
        pause = FIRST_PAUSE
        while True:
            job = self.job(identity)
            yield job
            if job["finished"] is not None:
                return
            time.sleep(pause)
            pause = min(1.5 * pause, LONGEST_PAUSE)
