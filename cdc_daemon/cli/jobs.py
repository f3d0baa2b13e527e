"""`cdc-daemon backfill` and `jobs`: work on whole tables and what comes round, done by a daemon that runs."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any
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
from cdc_daemon.model.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from cdc_daemon.cli.client import DaemonClient

_SAID_EVERY = 30.0
"""Seconds between two lines of progress where standard error is no terminal."""

app = typer.Typer(
    no_args_is_help=False, help="Look at work on whole tables and at what comes round by itself; end a job."
)

TypesArgument = Annotated[list[str], typer.Argument(metavar="TYPE…", help="Names of mappings, such as user.")]
RateOption = Annotated[float | None, typer.Option("--rate", metavar="N", min=0.001, help="Rows a second at most.")]
DetachOption = Annotated[bool, typer.Option("--detach", help="Return at once: `cdc-daemon jobs` tells how far it is.")]


def backfill(  # noqa: PLR0917 -- the command line's order
    types: TypesArgument,
    where_token: Annotated[
        list[str] | None,
        typer.Option(
            "--where-token", metavar="FROM:TO", help="Only rows whose token is above FROM, up to TO; may be repeated."
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
            help="Fill a fresh index, made as the configuration says now, compare it with the rows, and have it take "
            "the live one's place.",
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count the rows, write nothing.")] = False,
    detach: DetachOption = False,
    as_json: JsonOption = False,
) -> None:
    """Read each row of tables and write its document, beside the live changes.

    The running daemon does it, behind live changes and requests for rows, and goes on where it was after a restart.
    With `--new-index` live changes go to both indices, only one that is equal to the rows takes the place, in one step,
    and the former is kept for `cdc-daemon rollback` until `cdc-daemon drop-index`.
    Exit code 0: done, 1: failed or cancelled, or the daemon did not answer, 2: the command line or the configuration
    is wrong.
    """
    client = connect(url, config, token_file, ca_file, wait)
    if new_index and where_token:
        raise ConfigError("expected no --where-token beside --new-index, as a new index needs all rows")
    wanted: dict[str, Any] = {"types": types, "ranges": where_token or [], "rate": rate, "dry_run": dry_run}
    if new_index:
        wanted["new_index"] = True
    told = carry_out(client, "backfill", wanted, detach=detach)
    if as_json:
        typer.echo(json.dumps(told, indent=2))
    elif detach:
        say_begun(told)
    else:
        done = {"done": "counted" if dry_run else "settled"}.get(told["state"], told["state"])
        for object_type, rows in told["rows_by_type"].items():
            typer.echo(f"{object_type}: {rows:,} rows {done}")
        for object_type, plan in told["report"].get("new_index", {}).items():
            typer.echo(f"{object_type}: {_describe(plan, object_type, dry_run=dry_run)}")
    if not detach and told["state"] != "done":
        say_ended(told)
        raise typer.Exit(EXIT_FAILED)


def _describe(plan: Mapping[str, Any], object_type: str, *, dry_run: bool) -> str:
    index, former = plan["index"], plan["in_place_of"]
    if dry_run:
        return f"{index} would take the place of {former}"
    if plan["swapped"]:
        return (
            f"{index} has taken the place of {former}, which is kept: "
            f"`cdc-daemon rollback {object_type}` puts it back, `cdc-daemon drop-index {object_type}` deletes it"
        )
    if not plan["created"]:
        return f"{former} is live as before; no index was created"
    return f"{former} is live as before; {index} stays to be gone on with, or for `cdc-daemon drop-index {object_type}`"


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
    """List work on whole tables, newest first, and how far it is; then what comes round by itself."""
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

    table = Table("comes round", "every", "state", "last done", "next", "turns", "failed", box=None, pad_edge=False)
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
    """End a job; what it has handed over already is settled all the same."""
    typer.echo(f"{job}: {context.obj().cancel(job)['state']}")


def connect(
    url: str | None, config: Path | None, token_file: Path | None, ca_file: Path | None, wait: float
) -> JobsClient:
    """Return the operator of the daemon that the command line or the configuration names. Raises `ConfigError`."""
    return JobsClient(connect_daemon(url, config, token_file, ca_file, wait))


def carry_out(client: JobsClient, kind: str, wanted: Mapping[str, Any], *, detach: bool) -> dict[str, Any]:
    """Start a job and show how far it is until it ends; return what is told of it then."""
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
    told = accepted
    console = Console(stderr=True)
    said = _Lines(console)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        name = f"{kind} {', '.join(wanted['types'])}"
        task = bar.add_task(name, total=1.0, rows=0, rate=0.0)
        try:
            for told in client.follow(accepted["job"]):
                begun = begun or (bar.get_time() if told["started"] else None)
                rate = told["rows"] / max(bar.get_time() - begun, 0.1) if begun else 0.0
                shown = name if told["started"] else f"{name}, which waits for another job"
                if kind == "backfill" and told["report"].get("types"):
                    shown += " (comparing)"
                said.tell(shown, told)
                bar.update(task, description=shown, completed=told["fraction"], rows=told["rows"], rate=rate)
        except KeyboardInterrupt:
            typer.echo(f"the job goes on: cdc-daemon jobs cancel {accepted['job']} ends it", err=True)
            raise
    return told


class _Lines:
    """Progress for a standard error that is no terminal: one line when something changes, and one now and then."""

    def __init__(self, console: Console) -> None:
        self._quiet = console.is_terminal
        self._last: tuple[str, float] = ("", -math.inf)

    def tell(self, shown: str, told: Mapping[str, Any]) -> None:
        """Write what the job does now, unless that was written just before."""
        now = time.monotonic()
        if self._quiet or (self._last[0] == shown and now < self._last[1] + _SAID_EVERY):
            return
        self._last = (shown, now)
        typer.echo(f"{shown}: {told['state']}, {told['fraction']:.0%}, {told['rows']:,} rows", err=True)


def say_begun(told: Mapping[str, Any]) -> None:
    """Print how to look at a job that the command does not wait for."""
    typer.echo(f"{told['kind']} {told['job']} {told['state']}: cdc-daemon jobs show {told['job']}")


def say_ended(told: Mapping[str, Any]) -> None:
    """Print on standard error that a job failed or was cancelled, and why."""
    reason = f": {told['message']}" if told["message"] else ""
    typer.echo(f"{told['kind']} {told['job']} {told['state']}{reason}", err=True)


FIRST_PAUSE, LONGEST_PAUSE = 0.25, 3.0
"""Seconds between two looks at a job that is followed: the longer it runs, the longer they are."""


class JobsClient:
    """Asks a daemon for work on whole tables. Methods raise `CdcError` when it refuses, or stays away."""

    def __init__(self, client: DaemonClient) -> None:
        self._client = client

    def start(self, kind: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Start a job; return its state."""
        told: dict[str, Any] = self._client.ask("POST", f"/admin/{kind}", wanted)
        return told

    def jobs(self, limit: int = 100) -> dict[str, list[dict[str, Any]]]:
        """Return what is told of the newest `jobs`, newest first, and of what is `scheduled`."""
        listed: dict[str, list[dict[str, Any]]] = self._client.ask("GET", f"/admin/jobs?limit={limit}")
        return listed

    def job(self, identity: str) -> dict[str, Any]:
        """Return what is told of a job."""
        told: dict[str, Any] = self._client.ask("GET", f"/admin/jobs/{quote(identity, safe='')}")
        return told

    def cancel(self, identity: str) -> dict[str, Any]:
        """End a job; return what is told of it."""
        told: dict[str, Any] = self._client.ask("POST", f"/admin/jobs/{quote(identity, safe='')}/cancel", {})
        return told

    def follow(self, identity: str) -> Iterator[dict[str, Any]]:
        """Yield the state of a job until it has ended, also across restarts of the daemon."""
        pause = FIRST_PAUSE
        while True:
            told = self.job(identity)
            yield told
            if told["finished"] is not None:
                return
            time.sleep(pause)
            pause = min(1.5 * pause, LONGEST_PAUSE)
