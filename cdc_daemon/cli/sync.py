"""`cdc-daemon sync`: reindex rows now, by a running daemon: listed ones, those of a file, or the latest changes."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

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
from cdc_daemon.cli.jobs import DetachOption, print_failed, print_started, run_job
from cdc_daemon.model.errors import CdcError, ConfigError
from cdc_daemon.model.id_file import FileEntry, read_entries
from cdc_daemon.model.text import printable

if TYPE_CHECKING:
    from cdc_daemon.cli.sync_client import SyncClient, SyncSummary

_SHOWN_FAILURES = 20

EXIT_INTERRUPTED = 130
"""Exit code after SIGINT: 128 plus the number of the signal, as in shells."""


def sync(  # noqa: PLR0917 -- the command line's order
    object_type: Annotated[
        str, typer.Argument(metavar="TYPE", help="The name of a mapping, such as user.", autocompletion=complete_type)
    ],
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID]…", help="Ids, as text or as JSON objects of columns and values."),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            "--file",
            "--ids-file",
            metavar="FILE",
            help="A file of ids, of any size: one on each line, or a JSON list; - is standard input.",
        ),
    ] = None,
    from_line: Annotated[
        int, typer.Option("--from-line", metavar="N", min=1, help="Begin at this line of the file.")
    ] = 1,
    days: Annotated[
        float | None,
        typer.Option("--days", metavar="N", help="Instead of ids: the rows that were written in the last N days."),
    ] = None,
    url: UrlOption = None,
    token_file: TokenOption = None,
    ca_file: AuthorityOption = None,
    wait: WaitOption = 60.0,
    config: ConfigOption = None,
    *,
    refresh: Annotated[bool, typer.Option("--refresh", help="Return only when searches find the changes.")] = False,
    detach: DetachOption = False,
    as_json: JsonOption = False,
) -> None:
    """Read rows from Cassandra now and write their documents.

    The command returns when the document of each id is written, or removed because the row does not exist. A line of
    a file without a valid id is reported with its number, and the others are done. With `--days` the daemon runs a
    job that reads the keys and write times of the whole table, and then the rows that changed. It does not find
    removed rows: `cdc-daemon reconcile TYPE --repair` does. Exit code 0: all succeeded, 1: some failed or the daemon
    did not answer, 2: the command line or the configuration is wrong, 130: interrupted. Even if it fails, the command
    shows what was done. It can be repeated at any time.
    """
    from cdc_daemon.cli.sync_client import SyncClient, SyncSummary  # noqa: PLC0415  commands start fast

    _check_options(ids, file, days, from_line=from_line, refresh=refresh, detach=detach)
    listed = read_ids(iter(ids or []))
    client = SyncClient(connect_daemon(url, config, token_file, ca_file, wait))
    if days is not None:
        _catch_up(client, object_type, days, detach=detach, as_json=as_json)
        return
    summary = SyncSummary()
    mode = "true" if refresh else None
    try:
        if listed:
            _sync_listed(client, object_type, listed, summary, refresh=mode, as_json=as_json)
        if file is not None:
            _sync_file(client, object_type, file, from_line, summary, refresh=mode, as_json=as_json)
    except KeyboardInterrupt:
        raise typer.Exit(EXIT_INTERRUPTED) from None
    if file is not None and not (summary.asked or summary.failed):
        raise ConfigError("expected at least one id, found none", file=file)
    _show(summary, as_json=as_json)
    if summary.failed:
        raise typer.Exit(EXIT_FAILED)


def _check_options(
    ids: Sequence[str] | None, file: str | None, days: float | None, *, from_line: int, refresh: bool, detach: bool
) -> None:
    """Raise `ConfigError` for options that do not go together."""
    if days is None:
        if not ids and file is None:
            raise ConfigError(
                "expected at least one id, found none", hint="give ids, a file of ids with --file, or --days"
            )
        if detach:
            raise ConfigError("expected --detach only with --days")
    elif ids or file is not None or refresh:
        raise ConfigError("expected --days without ids, --file and --refresh")
    if from_line > 1 and file is None:
        raise ConfigError("expected --from-line only with --file")


def _catch_up(client: SyncClient, object_type: str, days: float, *, detach: bool, as_json: bool) -> None:
    """Run a job for the rows that changed in the last days."""
    job = run_job(client, "sync", {"types": [object_type], "days": days}, detach=detach)
    if as_json:
        typer.echo(json.dumps({name: job[name] for name in job if name not in {"kind", "report"}}, indent=2))
    elif detach:
        print_started(job)
    elif job["state"] == "done":
        typer.echo(f"{object_type}: {job['rows']:,} rows changed in the last {days:g} days, all written")
        if job["message"]:
            typer.echo(f"  {printable(job['message'])}", err=True)
    if not detach and job["state"] != "done":
        print_failed(job)
        raise typer.Exit(EXIT_FAILED)


def _sync_listed(
    client: SyncClient,
    object_type: str,
    ids: Sequence[Any],
    summary: SyncSummary,
    *,
    refresh: str | None,
    as_json: bool,
) -> None:
    with _bar() as bar:
        task = bar.add_task(object_type, total=len(ids), ids=0)
        try:
            client.sync(
                object_type,
                ids,
                refresh=refresh,
                progress=lambda count: bar.update(task, advance=count, ids=summary.asked),
                summary=summary,
            )
        except (KeyboardInterrupt, CdcError) as error:
            bar.stop()
            # A request that is wrong was answered so before anything was done for it.
            refused = isinstance(error, ConfigError)
            where = f"after the first {summary.asked} of {len(ids)} ids"
            _tell_done(summary, where, as_json=as_json, refused=refused)
            raise


def _sync_file(
    client: SyncClient,
    object_type: str,
    name: str,
    from_line: int,
    summary: SyncSummary,
    *,
    refresh: str | None,
    as_json: bool,
) -> None:
    done = from_line - 1
    with _open(name) as file, _bar() as bar:
        task = bar.add_task(object_type, total=_size(file), ids=0)

        def show(last: FileEntry) -> None:
            nonlocal done
            done = last.line
            bar.update(task, completed=last.read, ids=summary.asked)

        entries = (each for each in read_entries(file) if each.line >= from_line)
        try:
            client.sync_file(object_type, entries, refresh=refresh, progress=show, summary=summary)
        except (KeyboardInterrupt, CdcError) as error:
            bar.stop()
            where = f"after line {done} of the file; continue with --from-line {done + 1}"
            _tell_done(summary, where, as_json=as_json, refused=isinstance(error, ConfigError))
            raise


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[ids]:,} ids"))
    console = Console(stderr=True)
    return Progress(*columns, TimeRemainingColumn(), console=console, transient=True)


@contextmanager
def _open(name: str) -> Iterator[BinaryIO]:
    if name == "-":
        yield sys.stdin.buffer
        return
    try:
        file = Path(name).open("rb")  # noqa: SIM115 -- only the opening may fail here
    except OSError as error:
        raise ConfigError(
            f"expected a file of ids, found {(error.strerror or 'an error').lower()}", file=name
        ) from None
    with file:
        yield file


def _size(file: BinaryIO) -> int | None:
    """Return the size of a file; None if it is a pipe or a terminal."""
    try:
        found = os.fstat(file.fileno())
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _tell_done(summary: SyncSummary, where: str, *, as_json: bool, refused: bool) -> None:
    """Print what was done before the command failed.

    A request that was `refused` had no effect. If nothing was done at all, the error message is enough.
    """
    if as_json or summary.asked:
        _show(summary, as_json=as_json)
    if refused and not summary.asked:
        return
    rest = (
        "nothing was done for the others" if refused else "some of the others may have been written without an answer"
    )
    typer.echo(f"stopped {where}; {rest}", err=True)


def _show(summary: SyncSummary, *, as_json: bool) -> None:
    left_out = summary.failed - len(summary.failures)
    if as_json:
        plain: dict[str, Any] = {
            name: getattr(summary, name) for name in ("asked", "indexed", "deleted", "missing", "failures")
        }
        if left_out:
            plain["failures_left_out"] = left_out
        typer.echo(json.dumps(plain, indent=2, ensure_ascii=False))
        return
    typer.echo(
        f"{summary.asked} ids: {summary.indexed} documents indexed, {summary.deleted} deleted, "
        f"{summary.missing} without a row or a document, {summary.failed} ids failed"
    )
    for identity, reason in list(summary.failures.items())[:_SHOWN_FAILURES]:
        typer.echo(f"  {printable(identity)}: {printable(reason)}", err=True)
    if summary.failed > _SHOWN_FAILURES:
        shown = "all" if not left_out else f"the first {len(summary.failures)}"
        typer.echo(f"  … and {summary.failed - _SHOWN_FAILURES} more; --json shows {shown}", err=True)


def read_ids(lines: Iterator[str]) -> list[Any]:
    """Read ids, one per line: a text, or a JSON object for a key of several columns. Empty lines are skipped.

    Raises `ConfigError` for a line that begins with a brace but is not a JSON object.
    """
    ids: list[Any] = []
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if text.startswith("{"):
            try:
                ids.append(json.loads(text))
            except ValueError:
                raise ConfigError("expected an id or a JSON object on each line", line=number) from None
        elif text:
            ids.append(text)
    return ids
