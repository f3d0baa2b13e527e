"""`cdc-daemon reconcile`: rows and documents compared, by a daemon that runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from cdc_daemon.cli.common import AuthorityOption, ConfigOption, JsonOption, TokenOption, UrlOption, WaitOption, report
from cdc_daemon.cli.jobs import DetachOption, RateOption, TypesArgument, carry_out, connect, say_begun, say_ended
from cdc_daemon.model.errors import CdcError, ConfigError
from cdc_daemon.model.printable import printable

EXIT_DRIFT = 1
"""Exit code: documents differ from their rows, or some could not be judged."""

EXIT_ERROR = 2
"""Exit code: the comparison could not be made."""

_SHOWN = 5


def reconcile(  # noqa: PLR0917 -- the command line's order
    types: TypesArgument,
    sample: Annotated[
        str | None, typer.Option("--sample", metavar="PART", help="Only so much, by chance, such as 1% or 0.01.")
    ] = None,
    ranges: Annotated[
        str | None,
        typer.Option("--ranges", metavar="FROM:TO,…", help="Only rows whose token is above FROM, up to TO."),
    ] = None,
    rate: RateOption = None,
    url: UrlOption = None,
    token_file: TokenOption = None,
    ca_file: AuthorityOption = None,
    wait: WaitOption = 60.0,
    config: ConfigOption = None,
    *,
    repair: Annotated[bool, typer.Option("--repair", help="Have each difference settled as a change is.")] = False,
    detach: DetachOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compare rows with documents, and documents with rows: those missing, different, and left over.

    The running daemon does it, behind live changes; a change under way is no difference. Exit code 0: equal, or all
    repaired, 1: documents differ, or some could not be judged, 2: it could not be done.
    """
    from cdc_daemon.tablejobs.findings import ComparisonVerdict, verdict_of  # noqa: PLC0415  commands start fast

    wanted: dict[str, Any] = {"types": types, "rate": rate, "repair": repair}
    try:
        wanted["sample"] = None if sample is None else _part(sample)
        wanted["ranges"] = [] if ranges is None else ranges.split(",")
        told = carry_out(connect(url, config, token_file, ca_file, wait), "reconcile", wanted, detach=detach)
    except CdcError as error:
        report(error)
        raise typer.Exit(EXIT_ERROR) from None
    if as_json:
        typer.echo(json.dumps(told, indent=2, ensure_ascii=False))
    elif detach:
        say_begun(told)
    else:
        _show(told)
    if detach:
        return
    if told["state"] != "done":
        say_ended(told)
        raise typer.Exit(EXIT_ERROR)
    verdicts = {verdict_of(found) for found in told["report"].get("types", {}).values()}
    if not verdicts <= {ComparisonVerdict.EQUAL, ComparisonVerdict.REPAIRED}:
        raise typer.Exit(EXIT_DRIFT)


def _part(text: str) -> float:
    try:
        part = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        part = 0.0
    if not 0 < part <= 1:
        raise ConfigError(f"expected a part such as 1% or 0.01, found {text!r}")
    return part


def _show(told: Mapping[str, Any]) -> None:
    from cdc_daemon.tablejobs.findings import ComparisonVerdict, verdict_of  # noqa: PLC0415  commands start fast

    for object_type, found in told["report"].get("types", {}).items():
        verdict = verdict_of(found)
        word = "NOT EQUAL" if verdict is ComparisonVerdict.DIFFERENT else verdict.value.upper()
        typer.echo(f"{object_type}: {word}, {found['rows']:,} rows, {found['documents']:,} documents")
        for kind, text in (
            ("missing", "rows without document"),
            ("different", "documents that differ from their row"),
            ("surplus", "documents without row"),
        ):
            if not found[kind]:
                continue
            typer.echo(f"  {found[kind]:,} {text}, {found[kind] - found['left'][kind]:,} repaired")
            for example in found["examples"].get(kind, [])[:_SHOWN]:
                fields = f": {', '.join(example['fields'])}" if example["fields"] else ""
                typer.echo(printable(f"    {example['id']}{fields}"))
        if found["unsettled"]:
            typer.echo(f"  {found['unsettled']:,} changed all the while or wait in the log, and were not judged")
        if found["unreadable"]:
            typer.echo(f"  {found['unreadable']:,} rows that no document can show: see `cdc-daemon dead-letters list`")
