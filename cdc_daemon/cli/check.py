"""`cdc-daemon check`: the preflight check of everything that the daemon depends on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cdc_daemon.cli.common import EXIT_FAILED, ConfigOption, JsonOption, load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdc_daemon.cli.checks import Finding

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def check(config: ConfigOption = None, *, as_json: JsonOption = False) -> None:
    """Check Cassandra, its tables, the directories and the search engine, and show how to fix what is wrong.

    The command changes nothing. Each finding is ok, warn (the daemon works, but with a disadvantage) or fail (the
    daemon cannot work). A server that is down is a finding too. Exit code 0: no finding is fail, 1: at least one
    finding is fail, 2: the configuration is wrong.
    """
    from cdc_daemon.cli.checks import run_checks  # noqa: PLC0415  commands start fast: the drivers import slowly
    from cdc_daemon.telemetry.logs import quiet_logs  # noqa: PLC0415  likewise

    settings = load_settings(config)
    quiet_logs()
    findings = run_checks(settings)
    failed = any(finding.status == "fail" for finding in findings)
    if as_json:
        plain = [finding.as_dict() for finding in findings]
        typer.echo(json.dumps({"ok": not failed, "findings": plain}, indent=2, ensure_ascii=False))
    else:
        _show(findings)
    if failed:
        raise typer.Exit(EXIT_FAILED)


def _show(findings: Sequence[Finding]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("", "check", "found"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        found = Text(finding.found)
        if finding.mend:
            found.append("\n→ " + finding.mend, style=_STYLES[finding.status])
        table.add_row(Text(finding.status, style=_STYLES[finding.status]), Text(finding.name), found)
    console = Console(highlight=False)
    console.print(table)
    counts = {status: sum(finding.status == status for finding in findings) for status in _STYLES}
    console.print(", ".join(f"{count} {status}" for status, count in counts.items()))
