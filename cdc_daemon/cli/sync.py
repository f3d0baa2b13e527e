"""`cdc-daemon sync`: reindex rows now, by a running daemon. Sends the ids in batches."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

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
from cdc_daemon.model.errors import CdcError, ConfigError
from cdc_daemon.model.text import printable

if TYPE_CHECKING:
    from cdc_daemon.cli.client import DaemonClient

_SHOWN_FAILURES = 20

EXIT_INTERRUPTED = 130
"""Exit code after SIGINT: 128 plus the number of the signal, as in shells."""


def sync(  # noqa: PLR0917 -- the command line's order
    object_type: Annotated[str, typer.Argument(metavar="TYPE", help="The name of a mapping, such as user.")],
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID]…", help="Ids, as text or as JSON objects of columns and values."),
    ] = None,
    ids_file: Annotated[
        str | None, typer.Option("--ids-file", metavar="FILE", help="A file with one id per line; - is standard input.")
    ] = None,
    url: UrlOption = None,
    token_file: TokenOption = None,
    ca_file: AuthorityOption = None,
    wait: WaitOption = 60.0,
    config: ConfigOption = None,
    *,
    refresh: Annotated[bool, typer.Option("--refresh", help="Return only when searches find the changes.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Read rows from Cassandra now and write their documents.

    The command returns when the document of each id is written, or removed because the row does not exist. Exit code 0:
    all succeeded, 1: some failed or the daemon did not answer, 2: the command line or the configuration is wrong, 130:
    interrupted. Even if it fails, the command shows what was done.
    """
    wanted = _ids(ids or [], ids_file)
    summary = SyncSummary()
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
    ids = read_ids(iter(given)) + (read_ids(_lines(file)) if file is not None else [])
    if not ids:
        raise ConfigError("expected at least one id, found none", hint="give ids, or a file of ids with --ids-file")
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


def _tell_done(summary: SyncSummary, wanted: int, *, as_json: bool, refused: bool) -> None:
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
    typer.echo(f"stopped after the first {summary.asked} of {wanted} ids; {rest}", err=True)


def _show(summary: SyncSummary, *, as_json: bool) -> None:
    if as_json:
        plain = {name: getattr(summary, name) for name in ("asked", "indexed", "deleted", "missing", "failures")}
        typer.echo(json.dumps(plain, indent=2, ensure_ascii=False))
        return
    typer.echo(
        f"{summary.asked} ids: {summary.indexed} documents indexed, {summary.deleted} deleted, "
        f"{summary.missing} without a row or a document, {len(summary.failures)} ids failed"
    )
    for identity, reason in list(summary.failures.items())[:_SHOWN_FAILURES]:
        typer.echo(f"  {printable(identity)}: {printable(reason)}", err=True)
    if len(summary.failures) > _SHOWN_FAILURES:
        typer.echo(f"  … and {len(summary.failures) - _SHOWN_FAILURES} more; --json shows all", err=True)


_PATH = "/api/data/v1/index/sync"

BATCH = 1000
"""The number of ids in one request, which takes about a second."""


@dataclass(slots=True)
class SyncSummary:
    """The results of all ids."""

    asked: int = 0
    indexed: int = 0
    deleted: int = 0
    missing: int = 0
    failures: dict[str, str] = field(default_factory=dict)

    def add(self, result: dict[str, Any], asked: int) -> None:
        """Add the results of one answer."""
        counts = result.get("counts", {})
        self.asked += asked
        self.indexed += counts.get("indexed", 0)
        self.deleted += counts.get("deleted", 0)
        self.missing += counts.get("missing", 0)
        self.failures |= result.get("failures", {})


class SyncClient:
    """Sends requests for rows to a daemon."""

    def __init__(self, daemon: DaemonClient) -> None:
        self._daemon = daemon

    def sync(
        self,
        object_type: str,
        ids: Sequence[Any],
        *,
        refresh: str | None = None,
        progress: Callable[[int], None] = lambda _count: None,
        summary: SyncSummary | None = None,
    ) -> SyncSummary:
        """Request all ids, batch by batch, and return the results. `progress` is called with the size of each batch.

        Each answer is added to `summary`, so that the caller has the results if the call fails. Raises `CdcError` if a
        request is refused or the daemon does not answer.
        """
        summary = summary or SyncSummary()
        path = _PATH if refresh is None else f"{_PATH}?refresh={refresh}"
        for batch in _batches(ids):
            body = {"params": {}, "request": {"objectType": object_type, "objectIds": list(batch)}}
            summary.add(self._daemon.ask("POST", path, body, headers=_headers())["result"], len(batch))
            progress(len(batch))
        return summary


def _headers() -> dict[str, str]:
    """Return the headers that the documented contract requires, except the authorisation."""
    moment = datetime.now(UTC)
    return {
        "ts": f"{moment:%Y-%m-%d %H:%M:%S}:{moment.microsecond // 1000:03}+0000",
        "X-msgid": str(uuid.uuid4()),
        "X-Device-ID": "cdc-daemon-cli",
    }


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


def _batches(ids: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(ids), BATCH):
        yield ids[start : start + BATCH]
