"""The statuses of all daemons of a ring, on one screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from cdc_daemon.cli.output import below_each_other, format_bytes, plain_table, text
from cdc_daemon.model.errors import CdcError

_UNKNOWN: Final = "-"
_STYLES: Final = {"critical": "bold red", "warning": "yellow"}

_State = Mapping[str, Any]


def read_statuses(answer: Any) -> Sequence[_State]:
    """Return the statuses in an answer of `/status/all`. Raises `CdcError` if it is another answer."""
    found = answer.get("daemons") if isinstance(answer, dict) else None
    if not isinstance(found, list) or not all(isinstance(each, dict) and "state" in each for each in found):
        raise CdcError(
            "expected the statuses of all daemons, found another answer",
            hint="is --url the address of a cdc-daemon of this version?",
        )
    return found


def is_healthy(status: _State) -> bool:
    """Return whether a daemon answers, is running and has found no problems."""
    return status["state"] == "running" and not status.get("problems")


def draw_statuses(statuses: Sequence[_State]) -> Sequence[Table]:
    """Return one line for each daemon, then the jobs of all, as tables."""
    healthy = sum(map(is_healthy, statuses))
    heading = Table.grid()
    verdict = f"{healthy} of {len(statuses)} daemons are healthy"
    heading.add_row(Text(verdict, style="bold green" if healthy == len(statuses) else "bold red"))
    if len(statuses) == 1:
        heading.add_row(Text("This daemon asks no others: peers in its configuration is not set, or it is starting."))
    return [heading, *below_each_other((_daemons(statuses), _jobs(statuses)))]


def _daemons(statuses: Sequence[_State]) -> Table:
    numbers = ("behind", "keys", "backlog", "dead letters", "open jobs")
    table = plain_table("daemon", "state", *numbers, "problems", right=numbers)
    for each in statuses:
        problems = each.get("problems") or []
        first = problems[0] if problems else {}
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        told = each["error"] if each.get("error") else f"{first.get('text', '')}{more}"
        style = "bold red" if each.get("error") else _STYLES.get(first.get("severity", ""), "")
        state = "paused" if each.get("paused") else str(each["state"])
        table.add_row(
            text(_name(each)),
            text(state),
            _seconds((each.get("freshness") or {}).get("behind")),
            *(_count(value) for value in (each.get("pending"),)),
            _bytes((each.get("backlog") or {}).get("bytes")),
            *(_count(each.get(key)) for key in ("dead_letters", "open_jobs")),
            Text(text(told).plain, style=style),
        )
    return table


def _jobs(statuses: Sequence[_State]) -> Table:
    table = plain_table("job", "kind", "origin", "types", "done", "rows", "daemon", right=("done", "rows"))
    for each in statuses:
        for job in each.get("jobs") or ():
            table.add_row(
                *(text(str(job.get(key, _UNKNOWN))) for key in ("job", "kind", "origin")),
                text(", ".join(map(str, job.get("types", ())))),
                f"{float(job.get('fraction') or 0.0):.1%}",
                _count(job.get("rows")),
                text(_name(each)),
            )
    return table


def _name(status: _State) -> str:
    return str(status.get("node") or status.get("peer") or _UNKNOWN)


def _count(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{int(value):,}"


def _bytes(value: float | None) -> str:
    return _UNKNOWN if value is None else format_bytes(int(value))


def _seconds(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:,.1f} s"
