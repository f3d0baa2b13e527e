"""`cdc-daemon indices`, `rollback` and `drop-index`: the indices behind the aliases, through a running daemon."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console
from rich.table import Table

from cdc_daemon.cli.common import (
    AuthorityOption,
    ConfigOption,
    JsonOption,
    TokenOption,
    UrlOption,
    WaitOption,
    connect_daemon,
)
from cdc_daemon.cli.completion import complete_type

if TYPE_CHECKING:
    from pathlib import Path

    from cdc_daemon.cli.client import DaemonClient

TypeArgument = Annotated[
    str,
    typer.Argument(metavar="TYPE", help="The name of a mapping, such as user.", autocompletion=complete_type),
]
DryOption = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")]


def indices(
    url: UrlOption = None,
    token_file: TokenOption = None,
    ca_file: AuthorityOption = None,
    config: ConfigOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """List the indices of each type: the live index, and the second one that is being built or kept for a rollback.

    Exit code 0: listed, 1: the daemon did not answer, 2: the command line or the configuration is wrong.
    """
    listed = _connect(url, config, token_file, ca_file, 10.0).indices()
    if as_json:
        typer.echo(json.dumps(listed, indent=2))
        return
    table = Table("type", "alias", "live", "documents", "second", "documents", "state", box=None, pad_edge=False)
    for each in listed:
        table.add_row(
            each["type"],
            each["alias"],
            each["live"] or "",
            _count(each["live_documents"]),
            each["other"] or "",
            _count(each["other_documents"]),
            _state(each),
        )
    Console(width=max(100, Console().width)).print(table)


def rollback(  # noqa: PLR0917 -- the command line's order
    object_type: TypeArgument,
    url: UrlOption = None,
    token_file: TokenOption = None,
    ca_file: AuthorityOption = None,
    wait: WaitOption = 60.0,
    config: ConfigOption = None,
    *,
    behind: Annotated[
        bool,
        typer.Option("--behind", help="Allow an index that lacks changes; it is reconciled and repaired afterwards."),
    ] = False,
    dry_run: DryOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make the previous index live again, in one step. No search fails.

    The index that was live until now is kept, and still receives all changes: a second rollback reverts the first. Exit
    code 0: done, 1: there is no such type or index, or the index lacks changes, or the daemon did not answer, 2: the
    command line or the configuration is wrong.
    """
    answer = _connect(url, config, token_file, ca_file, wait).rollback(object_type, behind=behind, dry_run=dry_run)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    verb = "would be live again" if dry_run else "is live again"
    typer.echo(f"{object_type}: {answer['live']} {verb}, {answer['kept']} {'would be' if dry_run else 'is'} kept")
    if answer["job"] is not None:
        typer.echo(f"the job {answer['job']} writes the missing changes; cdc-daemon jobs shows its progress")


def drop_index(  # noqa: PLR0917 -- the command line's order
    object_type: TypeArgument,
    url: UrlOption = None,
    token_file: TokenOption = None,
    ca_file: AuthorityOption = None,
    wait: WaitOption = 60.0,
    config: ConfigOption = None,
    *,
    dry_run: DryOption = False,
    as_json: JsonOption = False,
) -> None:
    """Delete the second index of a type: the one kept for a rollback, or one that was not completed.

    The live index is never deleted.

    Exit code 0: done, 1: there is no such type or no second index, or a job is filling it, or the daemon did not
    answer, 2: the command line or the configuration is wrong.
    """
    answer = _connect(url, config, token_file, ca_file, wait).drop(object_type, dry_run=dry_run)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    verb = "would be deleted" if dry_run else "is deleted"
    typer.echo(f"{object_type}: {answer['dropped']} {verb}, {answer['live']} stays live")


def _state(each: Mapping[str, Any]) -> str:
    words = {"building": "being built", "kept": "kept for a rollback", "dropping": "being deleted", None: ""}
    states = [words[each["phase"]]]
    if each["phase"] in {"building", "kept"} and not each["written"]:
        states.append("not written to")
    if each["behind"]:
        states.append("lacks changes")
    return ", ".join(states)


def _count(documents: int | None) -> str:
    return "" if documents is None else f"{documents:,}"


def _connect(
    url: str | None, config: Path | None, token_file: Path | None, ca_file: Path | None, wait: float
) -> IndicesClient:
    return IndicesClient(connect_daemon(url, config, token_file, ca_file, wait))


class IndicesClient:
    """Requests on the indices behind aliases. Methods raise `CdcError` if the daemon refuses or does not answer."""

    def __init__(self, client: DaemonClient) -> None:
        self._client = client

    def indices(self) -> list[dict[str, Any]]:
        """Return the state of the indices of each type."""
        listed: list[dict[str, Any]] = self._client.ask("GET", "/admin/indices")["indices"]
        return listed

    def rollback(self, object_type: str, *, behind: bool = False, dry_run: bool = False) -> dict[str, Any]:
        """Roll back to the index that was live before; return the state of the indices."""
        return self._change(object_type, f"rollback?behind={_flag(behind)}&dry_run={_flag(dry_run)}")

    def drop(self, object_type: str, *, dry_run: bool = False) -> dict[str, Any]:
        """Delete the second index; return the state of the indices."""
        return self._change(object_type, f"drop?dry_run={_flag(dry_run)}")

    def _change(self, object_type: str, what: str) -> dict[str, Any]:
        answer: dict[str, Any] = self._client.ask("POST", f"/admin/indices/{quote(object_type, safe='')}/{what}", {})
        return answer


def _flag(flag: bool) -> str:  # noqa: FBT001  the flag is its only argument
    return "true" if flag else "false"
