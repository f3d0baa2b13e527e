"""`cdc-daemon status`, `pause` and `resume`: show the status of a running daemon; pause and resume replication."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.table import Table
from rich.text import Text

from cdc_daemon.cli import ring_status
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
from cdc_daemon.cli.output import below_each_other, format_age, format_bytes, plain_table, show_table, text
from cdc_daemon.cli.ring_status import draw_statuses, read_statuses
from cdc_daemon.cli.status_watch import PATIENCE, watch
from cdc_daemon.model.errors import CdcError, ConfigError

if TYPE_CHECKING:
    from cdc_daemon.cli.client import DaemonClient

OptionalTokenOption = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        help="A file that contains the bearer token. The status needs none.",
    ),
]

AllOption = Annotated[
    bool,
    typer.Option("--all", help="Show all daemons of the ring, which the daemon asks (peers in the configuration)."),
]

WatchOption = Annotated[bool, typer.Option("--watch", help="Draw the status again each second, until Ctrl-C.")]


def status(
    url: UrlOption = None,
    token_file: OptionalTokenOption = None,
    ca_file: AuthorityOption = None,
    wait: WaitOption = 5.0,
    config: ConfigOption = None,
    *,
    every: AllOption = False,
    watching: WatchOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show the status of a running daemon on one screen, problems first. No token is needed.

    The first line is that of the status page. `--json` writes the whole answer of `/status`. `--all` shows all daemons
    of the ring, which the daemon asks: lag, dead letters and jobs, one line each; unreachable ones are shown as such.
    Exit code 0: the daemon is running without problems (with `--all`, all daemons), 1: it has problems, is starting or
    stopping, or did not answer, 2: the command line or the configuration is wrong. With `--watch` it is 0 after Ctrl-C.
    """
    if watching and as_json:
        raise ConfigError("expected --watch without --json", hint="a script can run the command again")
    client = connect_daemon(url, config, token_file, ca_file, min(wait, PATIENCE) if watching else wait)
    if watching:
        watch(lambda: _draw_all(client) if every else draw_status(_read_status(client)))
        return
    if every:
        statuses = read_statuses(client.ask("GET", "/status/all"))
        if as_json:
            typer.echo(json.dumps(statuses, indent=2, ensure_ascii=False))
        else:
            _show_tables(draw_statuses(statuses))
        if not all(map(ring_status.is_healthy, statuses)):
            raise typer.Exit(EXIT_FAILED)
        return
    answer = _read_status(client)
    if as_json:
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        _show_tables(draw_status(answer))
    if not is_healthy(answer):
        raise typer.Exit(EXIT_FAILED)


def _read_status(client: DaemonClient) -> dict[str, Any]:
    answer = client.ask("GET", "/status")
    if not isinstance(answer, dict) or "state" not in answer:
        raise CdcError(
            f"expected the status of a cdc-daemon, found {json.dumps(answer)[:80]}",
            hint="is --url the address of a cdc-daemon?",
        )
    return answer


def _draw_all(client: DaemonClient) -> Sequence[Table]:
    return draw_statuses(read_statuses(client.ask("GET", "/status/all")))


def _show_tables(tables: Sequence[Table]) -> None:
    for table in tables:
        show_table(table)


def pause(
    url: UrlOption = None,
    token_file: TokenOption = None,
    ca_file: AuthorityOption = None,
    wait: WaitOption = 10.0,
    config: ConfigOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Pause replication until `cdc-daemon resume` or a restart of the daemon.

    The daemon stops following the commit log and polling, and stops processing expiries, dependents and retries of dead
    letters. Requests for rows, backfills and reconciles continue. Changes accumulate in cdc_raw. When half of its limit
    is in use, their keys are saved in the state directory and their segments are deleted. Over HTTP the
    command needs a token with the scope `admin`. Exit code 0: paused, 1: the daemon refused or did not answer, 2: the
    command line or the configuration is wrong.
    """
    answer = connect_daemon(url, config, token_file, ca_file, wait).ask("POST", "/admin/pause")
    _show(
        answer,
        "paused: changes are not replicated until `cdc-daemon resume` or a restart of the daemon",
        as_json=as_json,
    )


def resume(
    url: UrlOption = None,
    token_file: TokenOption = None,
    ca_file: AuthorityOption = None,
    wait: WaitOption = 10.0,
    config: ConfigOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Resume replication after `cdc-daemon pause`.

    Over HTTP the command needs a token with the scope `admin`. Exit code 0: resumed, 1: the daemon refused or did not
    answer, 2: the command line or the configuration is wrong.
    """
    answer = connect_daemon(url, config, token_file, ca_file, wait).ask("POST", "/admin/resume")
    _show(answer, "resumed: changes are replicated again", as_json=as_json)


def _show(answer: Any, message: str, *, as_json: bool) -> None:
    typer.echo(json.dumps(answer, indent=2, ensure_ascii=False) if as_json else message)


_VERDICTS: Final = {"running": "Keeping up", "starting": "Starting", "stopping": "Stopping"}
"""The verdict on a daemon without problems, by its state. The status page uses the same words."""

_NO_LIST: Final = {"severity": "warning", "text": "The daemon has not looked for problems yet."}
_STYLES: Final = {"critical": "bold red", "warning": "yellow"}
_UNKNOWN: Final = "-"

_State = Mapping[str, Any]


def is_healthy(status: _State) -> bool:
    """Return whether a daemon is running and has found no problems."""
    return status.get("state") == "running" and not _problems(status)


def draw_status(status: _State) -> Sequence[Table]:
    """Return the status as tables. Fields that a daemon of another version does not send are left out."""
    now = time.time()
    problems = _problems(status)
    verdict = problems[0]["text"] if problems else _VERDICTS.get(status["state"], str(status["state"]))
    heading = Table.grid()
    style = _STYLES.get(problems[0]["severity"], "yellow") if problems else "bold green"
    heading.add_row(Text.assemble((f"{status.get('node') or 'cdc-daemon'}: ", "bold"), (text(verdict).plain, style)))
    parts = (_problem_table(problems), _facts(status, now), _sources(status, now), _mappings(status, now))
    return [heading, *below_each_other(parts)]


def _problems(status: _State) -> Sequence[Mapping[str, str]]:
    problems = status.get("problems")
    if problems is None:
        return [_NO_LIST] if status.get("state") == "running" else []
    return [{"severity": "warning", **problem} for problem in problems]


def _problem_table(problems: Sequence[Mapping[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for problem in problems:
        section = f" (runbook: #{problem['runbook']})" if problem.get("runbook") else ""
        severity = problem["severity"]
        table.add_row(Text(severity, style=_STYLES.get(severity, "yellow")), text(problem["text"] + section))
    return table


def _facts(status: _State, now: float) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for name, fact in _list_facts(status, now):
        if fact:
            table.add_row(Text(name, style="bold"), text(fact))
    return table


def _list_facts(status: _State, now: float) -> Iterator[tuple[str, str]]:
    started = status.get("started")
    up = f", up {format_age(now - started)}" if started else ""
    yield "daemon", f"cdc-daemon {status.get('version') or _UNKNOWN}, {status['state']}{up}"
    for name in ("cassandra", "elasticsearch"):
        yield name.capitalize(), _server(status.get(name) or {}, now)
    yield "commit log", _commit_log(status)
    yield "freshness", _freshness(status)
    yield "waiting", _waiting(status)
    yield "cdc_raw", _cdc_raw(status.get("cdc_raw") or {})
    if (letters := status.get("dead_letters")) is not None:
        yield "dead letters", f"{letters:,}{': cdc-daemon dead-letters list' if letters else ''}"
    if (jobs := status.get("open_jobs")) is not None:
        yield "open jobs", f"{jobs:,}{': cdc-daemon jobs' if jobs else ''}"


def _server(server: _State, now: float) -> str:
    if not server:
        return ""
    state = "available" if server.get("available") else "unavailable"
    since = f" for {format_age(now - server['since'])}" if server.get("since") else ""
    failure = f": {server['failure']}" if server.get("failure") else ""
    nodes = f", {server.get('nodes_up')} of {server['nodes']} nodes up" if server.get("nodes") is not None else ""
    engine = " ".join(server[key] for key in ("engine", "version") if server.get(key))
    return f"{engine}{', ' if engine else ''}{state}{since}{failure}{nodes}"


def _commit_log(status: _State) -> str:
    if status.get("tail") is False:
        return "not read (tail: off)"
    state = "paused, " if status.get("paused") else ""
    return f"{state}at {status['position']}" if status.get("position") else ""


def _freshness(status: _State) -> str:
    freshness = status.get("freshness") or {}
    rate = (status.get("rate") or {}).get("documents")
    parts = [
        f"{title} {_seconds(freshness[name])}"
        for name, title in (("p50", "median"), ("p99", "99th percentile"), ("behind", "behind"))
        if freshness.get(name) is not None
    ]
    return ", ".join([*parts, *([] if rate is None else [f"{rate:,} documents/s"])])


def _waiting(status: _State) -> str:
    backlog = status.get("backlog") or {}
    parts = []
    if status.get("pending") is not None:
        parts.append(f"{status['pending']:,} keys")
    if status.get("spooled"):
        parts.append(f"{status['spooled']:,} on disk")
    if backlog.get("bytes"):
        parts.append(f"{format_bytes(backlog['bytes'])} unread in {backlog.get('segments', 0):,} segments")
    if unconfirmed := (status.get("ring") or {}).get("unconfirmed"):
        parts.append(f"{unconfirmed:,} left to other daemons")
    return ", ".join(parts)


def _cdc_raw(raw: _State) -> str:
    if raw.get("bytes") is None:
        return ""
    used, limit = format_bytes(int(raw["bytes"])), raw.get("limit")
    share = f" of {format_bytes(int(limit))} ({raw['bytes'] / limit:.0%})" if limit else ", its limit is not known"
    return f"{used}{share}, {raw.get('segments') or 0:,} segments"


def _sources(status: _State, now: float) -> Table:
    table = plain_table("source", "state", "for")
    for source in status.get("sources") or ():
        since = source.get("since")
        table.add_row(text(source["name"]), text(source["state"]), format_age(now - since) if since else _UNKNOWN)
    return table


def _mappings(status: _State, now: float) -> Table:
    numbers = ("median", "p99", "newest change", "documents")
    table = plain_table("type", "table", "alias", *numbers, right=numbers)
    for each in status.get("mappings") or ():
        newest = each.get("newest_write")
        table.add_row(
            *(text(each[name]) for name in ("name", "table", "alias")),
            *(_seconds(each.get(name)) for name in ("p50", "p99")),
            f"{format_age(now - newest)} ago" if newest else _UNKNOWN,
            f"{sum((each.get('documents') or {}).values()):,}",
        )
    return table


def _seconds(value: float | None) -> str:
    if value is None:
        return _UNKNOWN
    return f"{value * 1000:.0f} ms" if 0 < value < 1 else f"{value:,.1f} s"
