"""The output of `cdc-daemon backfill --dry-run`: rows, bytes and time of each type, and how sure they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from cdc_daemon.model.text import printable

_BASES = {"last_backfill": "as the last backfill", "reading": "reading alone", "limit": "the limit"}


def print_estimate(estimate: Mapping[str, Any], *, as_json: bool) -> None:
    """Print an estimate as a table, with the notes of each type below it, or as JSON."""
    if as_json:
        typer.echo(json.dumps(estimate, indent=2, ensure_ascii=False))
        return
    table = Table("type", "rows", "bytes", "time", "certainty", "rows/s", box=None, pad_edge=False)
    for column in table.columns[1:4]:
        column.justify = "right"
    types = estimate["types"]
    for name, found in types.items():
        rate = found["rate"]
        speed = "" if rate is None else f"{rate['rows_per_second']:,.0f} ({_BASES[rate['basis']]})"
        table.add_row(name, *_amounts(found), _certainty(found), speed)
    if len(types) > 1:
        table.add_row("all", *_amounts(estimate["total"]), "", "")
    Console(width=max(100, Console().width)).print(table)
    for name, found in types.items():
        if (plan := found.get("new_index")) is not None:
            typer.echo(f"{name}: {plan['index']} would replace {plan['in_place_of']}")
        own = found["cassandra"]
        if own is not None:
            typer.echo(f"{name}: Cassandra estimates {own['partitions']:,} partitions, {_size(own['bytes'])} on disk")
        for note in found["notes"]:
            typer.echo(f"{name}: {printable(note)}")
    typer.echo("nothing was changed")


def _amounts(found: Mapping[str, Any]) -> tuple[str, str, str]:
    return f"{found['rows']:,}", _size(found["bytes"]), _time(found["seconds"])


def _certainty(found: Mapping[str, Any]) -> str:
    if found["error"] is None or found["certainty"] == "counted":
        return str(found["certainty"])
    return f"{found['certainty']}, ± {found['error']:.0%} of a sample of {found['sampled_rows']:,} rows"


def _size(number: float | None) -> str:
    if number is None:
        return "unknown"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:,.0f} {unit}"
        number /= 1024
    return f"{number:,.1f} TiB"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    if seconds < 90:
        return f"{seconds:,.0f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} h"
