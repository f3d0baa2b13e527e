"""`cdc-daemon reconcile`: compare rows with documents, by a running daemon."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from cdc_daemon.cli.common import AuthorityOption, ConfigOption, JsonOption, TokenOption, UrlOption, WaitOption, report
from cdc_daemon.cli.jobs import DetachOption, RateOption, TypesArgument, connect, print_failed, print_started, run_job
from cdc_daemon.model.errors import CdcError, ConfigError
from cdc_daemon.model.text import printable

EXIT_DRIFT = 1
"""Exit code: documents differ from their rows, or some could not be judged."""

EXIT_ERROR = 2
"""Exit code: the comparison could not be made."""

_SHOWN = 5


def reconcile(  # noqa: PLR0917 -- the command line's order
    types: TypesArgument,
    sample: Annotated[
        str | None, typer.Option("--sample", metavar="PART", help="Only a random sample, such as 1% or 0.01.")
    ] = None,
    ranges: Annotated[
        str | None,
        typer.Option("--ranges", metavar="FROM:TO,…", help="Only rows with a token above FROM and up to TO."),
    ] = None,
    rate: RateOption = None,
    url: UrlOption = None,
    token_file: TokenOption = None,
    ca_file: AuthorityOption = None,
    wait: WaitOption = 60.0,
    config: ConfigOption = None,
    *,
    repair: Annotated[
        bool, typer.Option("--repair", help="Repair the differences: write or remove documents.")
    ] = False,
    detach: DetachOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compare rows with documents, and documents with rows, to find missing, different and surplus documents.

    The running daemon executes the job. Live changes take precedence, and a change in flight does not count as a
    difference. Exit code 0: equal, or all repaired, 1: documents differ, or some could not be compared, 2: the
    comparison failed.
    """
    from cdc_daemon.tablejobs.findings import ComparisonVerdict, verdict_of  # noqa: PLC0415  commands start fast

    wanted: dict[str, Any] = {"types": types, "rate": rate, "repair": repair}
    try:
        wanted["sample"] = None if sample is None else _part(sample)
        wanted["ranges"] = [] if ranges is None else ranges.split(",")
        job = run_job(connect(url, config, token_file, ca_file, wait), "reconcile", wanted, detach=detach)
    except CdcError as error:
        report(error)
        raise typer.Exit(EXIT_ERROR) from None
    if as_json:
        typer.echo(json.dumps(job, indent=2, ensure_ascii=False))
    elif detach:
        print_started(job)
    else:
        _show(job)
    if detach:
        return
    if job["state"] != "done":
        print_failed(job)
        raise typer.Exit(EXIT_ERROR)
    verdicts = {verdict_of(found) for found in job["report"].get("types", {}).values()}
    if not verdicts <= {ComparisonVerdict.EQUAL, ComparisonVerdict.REPAIRED}:
        raise typer.Exit(EXIT_DRIFT)


def _part(text: str) -> float:
    try:
        part = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        part = 0.0
    if not 0 < part <= 1:
        raise ConfigError(f"expected a fraction such as 1% or 0.01, found {text!r}")
    return part


def _show(job: Mapping[str, Any]) -> None:
    from cdc_daemon.tablejobs.findings import ComparisonVerdict, verdict_of  # noqa: PLC0415  commands start fast

    for object_type, found in job["report"].get("types", {}).items():
        verdict = verdict_of(found)
        word = "NOT EQUAL" if verdict is ComparisonVerdict.DIFFERENT else verdict.value.upper()
        typer.echo(f"{object_type}: {word}, {found['rows']:,} rows, {found['documents']:,} documents")
        for kind, text in (
            ("missing", "rows without a document"),
            ("different", "documents that differ from their row"),
            ("surplus", "documents without a row"),
        ):
            if not found[kind]:
                continue
            typer.echo(f"  {found[kind]:,} {text}, {found[kind] - found['left'][kind]:,} repaired")
            for example in found["examples"].get(kind, [])[:_SHOWN]:
                fields = f": {', '.join(example['fields'])}" if example["fields"] else ""
                typer.echo(printable(f"    {example['id']}{fields}"))
        if found["unsettled"]:
            typer.echo(
                f"  {found['unsettled']:,} not compared: they kept changing, or their changes are still in flight"
            )
        if found["unreadable"]:
            typer.echo(f"  {found['unreadable']:,} rows without a valid document: see `cdc-daemon dead-letters list`")
