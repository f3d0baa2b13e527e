"""`cdc-daemon sync`: have rows reindexed now, by a daemon that runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from cdc_daemon.cli.asking import AuthorityOption, TokenOption, UrlOption, WaitOption, connect_daemon
from cdc_daemon.cli.common import EXIT_FAILED, ConfigOption, JsonOption
from cdc_daemon.model.errors import CdcError, ConfigError
from cdc_daemon.model.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cdc_daemon.cli.sync_client import Summary

_SHOWN_FAILURES = 20

EXIT_INTERRUPTED = 130
"""128 and the number of SIGINT, as shells count."""


def sync(  # noqa: PLR0917 -- the command line's order
    object_type: Annotated[str, typer.Argument(metavar="TYPE", help="The name of a mapping, such as user.")],
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID]…", help="Ids, as texts or as JSON objects of columns and values."),
    ] = None,
    ids_file: Annotated[
        str | None, typer.Option("--ids-file", metavar="FILE", help="A file with one id a line; - is standard input.")
    ] = None,
    url: UrlOption = None,
    token_file: TokenOption = None,
    ca_file: AuthorityOption = None,
    wait: WaitOption = 60.0,
    config: ConfigOption = None,
    *,
    refresh: Annotated[bool, typer.Option("--refresh", help="Return when searches see it.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Read rows from Cassandra now and settle their documents, whatever the daemon is doing.

    Returns when each id is settled: its document written, or removed because its row is gone. Exit code 0: all
    are as their rows are, 1: some could not be shown or the daemon did not answer, 2: the command line or
    the configuration is wrong, 130: it was interrupted. It tells what was done by then.
    """
    from cdc_daemon.cli.sync_client import Summary, SyncClient  # noqa: PLC0415  likewise

    wanted = _ids(ids or [], ids_file)
    summary = Summary()
    client = SyncClient(connect_daemon(url, config, token_file, ca_file, wait))
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(object_type, total=len(wanted))
        try:
            client.sync(
                object_type,
                wanted,
                refresh="true" if refresh else None,
                progress=lambda count: bar.advance(task, count),
                summary=summary,
            )
        except (KeyboardInterrupt, CdcError) as error:
            bar.stop()
            # A request that is wrong was answered so before anything was done for it.
            _tell_done(summary, len(wanted), as_json=as_json, refused=isinstance(error, ConfigError))
            if isinstance(error, CdcError):
                raise
            raise typer.Exit(EXIT_INTERRUPTED) from None
    _show(summary, as_json=as_json)
    if summary.failures:
        raise typer.Exit(EXIT_FAILED)


def _ids(given: Sequence[str], file: str | None) -> list[Any]:
    from cdc_daemon.cli.sync_client import read_ids  # noqa: PLC0415  commands start fast

    ids = read_ids(iter(given)) + (read_ids(_lines(file)) if file is not None else [])
    if not ids:
        raise ConfigError("expected at least one id, found none", hint="name ids, or a file of them with --ids-file")
    return ids


def _lines(file: str) -> Iterator[str]:
    if file == "-":
        yield from sys.stdin
        return
    try:
        with Path(file).open(encoding="utf-8-sig") as lines:
            yield from lines
    except UnicodeDecodeError:
        raise ConfigError("expected a text file in UTF-8, found other bytes", file=file) from None
    except OSError as error:
        raise ConfigError(
            f"expected a file of ids, found {(error.strerror or 'an error').lower()}", file=file
        ) from None


def _tell_done(summary: Summary, wanted: int, *, as_json: bool, refused: bool) -> None:
    """Print what was done before the command ended too early.

    Of a request that was `refused` as it is nothing more was done; where nothing was at all, its error says enough.
    """
    if as_json or summary.asked:
        _show(summary, as_json=as_json)
    if refused and not summary.asked:
        return
    rest = (
        "of the next ones nothing was done" if refused else "some of the next ones may have been done without an answer"
    )
    typer.echo(f"ended after {summary.asked} of {wanted} ids, in their order; {rest}", err=True)


def _show(summary: Summary, *, as_json: bool) -> None:
    if as_json:
        plain = {name: getattr(summary, name) for name in ("asked", "indexed", "deleted", "missing", "failures")}
        typer.echo(json.dumps(plain, indent=2, ensure_ascii=False))
        return
    typer.echo(
        f"{summary.asked} ids: {summary.indexed} documents indexed, {summary.deleted} deleted, "
        f"{summary.missing} without row or document, {len(summary.failures)} ids failed"
    )
    for identity, reason in list(summary.failures.items())[:_SHOWN_FAILURES]:
        typer.echo(f"  {printable(identity)}: {printable(reason)}", err=True)
    if len(summary.failures) > _SHOWN_FAILURES:
        typer.echo(f"  … and {len(summary.failures) - _SHOWN_FAILURES} more; --json shows all", err=True)
