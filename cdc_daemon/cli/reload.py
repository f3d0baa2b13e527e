"""`cdc-daemon reload`: make a running daemon read its configuration again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import typer

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


def reload(
    url: UrlOption = None,
    token_file: TokenOption = None,
    ca_file: AuthorityOption = None,
    wait: WaitOption = 60.0,
    config: ConfigOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Make a running daemon read its configuration file again, without losing a change.

    A configuration with mistakes is refused with all of them, and the previous one stays in use. A good one is applied
    as a whole: the log level, tokens, limits and certificates at once; for mappings, pollers and other sections the
    daemon acknowledges what is in flight, and continues from its checkpoint with the new configuration. The command
    says what needs a restart, a new index or a backfill. Over HTTP it needs a token with the scope `admin`.

    Exit code 0: applied, or nothing has changed, 1: the daemon waits for a server with the new configuration, or did
    not answer, 2: the configuration is refused, or the command line is wrong.
    """
    answer = connect_daemon(url, config, token_file, ca_file, wait).ask("POST", "/admin/reload")
    if as_json:
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        for line in _describe(answer):
            typer.echo(line)
    if answer["result"] == "pending":
        raise typer.Exit(EXIT_FAILED)


_RESULTS: Mapping[str, str] = {
    "applied": "applied",
    "unchanged": "nothing has changed",
    "pending": "accepted, but the daemon waits for a server: see `cdc-daemon status`",
}


def _describe(answer: Mapping[str, Any]) -> Iterator[str]:
    yield f"{_RESULTS.get(answer['result'], answer['result'])} (generation {answer['generation']})"
    for what, names in answer["mappings"].items():
        if names:
            yield f"mappings {what}: {', '.join(names)}"
    if answer["sections"]:
        yield f"sections changed: {', '.join(answer['sections'])}"
    for name, keys in answer["new_index_needed"].items():
        changed = ", ".join(keys)
        yield f"{name}: {changed}: needs a new index: `cdc-daemon backfill {name} --new-index`"
    for name in answer["backfill_needed"]:
        yield f"{name}: documents keep their previous form until they change: `cdc-daemon backfill {name}` renews all"
    if answer["restart_needed"]:
        yield f"not applied before a restart: {', '.join(answer['restart_needed'])}"
