"""`cdc-daemon status`, `pause` and `resume`: the state of a running daemon, and whether it follows changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from cdc_daemon.cli.asking import AuthorityOption, TokenOption, UrlOption, WaitOption, connect_daemon
from cdc_daemon.cli.common import EXIT_FAILED, ConfigOption, JsonOption
from cdc_daemon.model.errors import CdcError

OptionalTokenOption = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        help="A file that holds a bearer token. The status needs none.",
    ),
]


def status(
    url: UrlOption = None,
    token_file: OptionalTokenOption = None,
    ca_file: AuthorityOption = None,
    wait: WaitOption = 5.0,
    config: ConfigOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Show on one screen what a running daemon does, what is wrong, and how far it is. It needs no token.

    The first line is the status page's. `--json` writes all of `/status`. Exit code 0: it is running and has no
    problems, 1: it has problems, is starting or stopping, or did not answer, 2: the command line or the configuration
    is wrong.
    """
    from cdc_daemon.cli.status_output import is_healthy, show_status  # noqa: PLC0415  commands start fast

    client = connect_daemon(url, config, token_file, ca_file, wait)
    answer = client.ask("GET", "/status")
    if not isinstance(answer, dict) or "state" not in answer:
        raise CdcError(
            f"expected the status of a cdc-daemon, found {json.dumps(answer)[:80]}",
            hint="is --url the daemon's address?",
        )
    if as_json:
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        show_status(answer)
    if not is_healthy(answer):
        raise typer.Exit(EXIT_FAILED)


def pause(
    url: UrlOption = None,
    token_file: TokenOption = None,
    ca_file: AuthorityOption = None,
    wait: WaitOption = 10.0,
    config: ConfigOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Stop following changes until `cdc-daemon resume` or a restart of the daemon.

    The commit log and polled tables wait, and so do expiries, dependents and retries of dead letters. Requests for
    rows, backfills and reconciles go on. Changes wait in cdc_raw; from half of its limit on, their keys go to the state
    directory and their segments are deleted. It needs a token of the scope `admin`. Exit code 0: paused, 1: the daemon
    refused or did not answer, 2: the command line or the configuration is wrong.
    """
    answer = connect_daemon(url, config, token_file, ca_file, wait).ask("POST", "/admin/pause")
    _show(
        answer,
        "paused: changes wait, and documents grow stale, until `cdc-daemon resume` or a restart of the daemon",
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
    """Follow changes again after `cdc-daemon pause`.

    It needs a token of the scope `admin`. Exit code 0: changes are followed, 1: the daemon refused or did not answer,
    2: the command line or the configuration is wrong.
    """
    answer = connect_daemon(url, config, token_file, ca_file, wait).ask("POST", "/admin/resume")
    _show(answer, "resumed: changes are followed again", as_json=as_json)


def _show(answer: Any, text: str, *, as_json: bool) -> None:
    typer.echo(json.dumps(answer, indent=2, ensure_ascii=False) if as_json else text)
