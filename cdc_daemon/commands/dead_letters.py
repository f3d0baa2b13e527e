"""`cdc-daemon dead-letters …`: what was set aside, looked at, replayed and dropped."""

from __future__ import annotations

import json
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

import typer

from cdc_daemon.commands.asking import (
    AuthorityOption,
    TokenOption,
    UrlOption,
    WaitOption,
    configured_url,
    read_token,
)
from cdc_daemon.commands.common import EXIT_FAILED, ConfigOption, JsonOption, load_settings
from cdc_daemon.errors import CdcError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from cdc_daemon.client import DaemonClient
    from cdc_daemon.store.dead_letters import DeadLetters
    from cdc_daemon.store.letter_filter import LetterFilter

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="What could not be replicated and was set aside: documents that Elasticsearch does not take, rows that "
    "cannot be made documents, mutations and pieces of segments that cannot be read.",
)

_PAGE = 200
"""Letters replayed by one request."""

_SHOWN = 50


class Kind(StrEnum):
    """What a letter can be."""

    DOCUMENT = "document"
    MUTATION = "mutation"
    SEGMENT = "segment"


IdsArgument = Annotated[list[int] | None, typer.Argument(metavar="[ID]…", help="Letters by their ids.")]
KindOption = Annotated[Kind | None, typer.Option("--kind", help="Only letters of this kind.", show_default=False)]
ReasonOption = Annotated[
    str | None,
    typer.Option("--reason", metavar="REASON", help="Only letters with this reason, such as an error.type."),
]
TableOption = Annotated[
    str | None, typer.Option("--table", metavar="TABLE", help="Only letters of this table, such as sunbird.user.")
]
OlderOption = Annotated[
    str | None, typer.Option("--older-than", metavar="AGE", help="Only letters that failed last so long ago: 90m, 7d.")
]
NewerOption = Annotated[
    str | None, typer.Option("--newer-than", metavar="AGE", help="Only letters that failed last within this time: 1h.")
]
AllOption = Annotated[bool, typer.Option("--all", help="All letters, without a filter.")]
DryOption = Annotated[bool, typer.Option("--dry-run", help="Only tell which letters are meant.")]


@app.command("list")
def list_(  # noqa: PLR0917 -- the command line's order
    kind: KindOption = None,
    reason: ReasonOption = None,
    table: TableOption = None,
    older_than: OlderOption = None,
    newer_than: NewerOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="The most letters shown.")] = _SHOWN,
    config: ConfigOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """List letters, newest first; the daemon need not run. Exit code 0: done, 2: the configuration is wrong."""
    from cdc_daemon.commands.letter_output import show_letters  # noqa: PLC0415  commands start fast
    from cdc_daemon.dead_letters.shown import plain_letter  # noqa: PLC0415  likewise

    wanted = _filter(kind, reason, table, older_than, newer_than)
    with _letters(config) as letters:
        found = list(letters.list(wanted=wanted, limit=limit)) if letters is not None else []
        total = letters.count(wanted) if letters is not None else 0
    if as_json:
        _write_json({"total": total, "dead_letters": [plain_letter(letter) for letter in found]})
    else:
        show_letters(found, total)


@app.command()
def show(
    identity: Annotated[int, typer.Argument(metavar="ID", help="The letter's id.")],
    config: ConfigOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Show all that is known of one letter. Exit code 0: shown, 1: there is none of this id."""
    from cdc_daemon.commands.letter_output import show_letter  # noqa: PLC0415  commands start fast
    from cdc_daemon.dead_letters.shown import plain_letter  # noqa: PLC0415  likewise

    with _letters(config) as letters:
        letter = None if letters is None else letters.get(identity)
    if letter is None:
        raise _unknown(identity)
    if as_json:
        start = letter.payload[:256].hex() if letter.payload is not None and letter.kind == "mutation" else None
        _write_json({**plain_letter(letter), "payload_start": start})
    else:
        show_letter(letter)


@app.command()
def replay(  # noqa: PLR0917 -- the command line's order
    ids: IdsArgument = None,
    kind: KindOption = None,
    reason: ReasonOption = None,
    table: TableOption = None,
    older_than: OlderOption = None,
    newer_than: NewerOption = None,
    url: UrlOption = None,
    token_file: TokenOption = None,
    ca_file: AuthorityOption = None,
    wait: WaitOption = 60.0,
    config: ConfigOption = None,
    *,
    everything: AllOption = False,
    dry_run: DryOption = False,
    as_json: JsonOption = False,
) -> None:
    """Have a running daemon read again what was set aside.

    A letter whose rows are shown then is gone; one that fails again stays, with the new reason. Exit code 0: all
    are shown, 1: some are not, or the daemon did not answer, 2: the command line or the configuration is wrong.
    """
    from cdc_daemon.client import DaemonClient  # noqa: PLC0415  commands start fast

    wanted = _filter(kind, reason, table, older_than, newer_than)
    _check_meant(ids, wanted, everything=everything)
    client = DaemonClient(url or configured_url(config), token=read_token(token_file), ca_file=ca_file, patience=wait)
    answers = _replay_ids(client, ids, dry_run=dry_run) if ids else _replay_filtered(client, wanted, dry_run=dry_run)
    total, letters = 0, []
    for answer in answers:
        total += answer["total"]
        letters += answer["letters"]
    counts = {outcome: sum(each["outcome"] == outcome for each in letters) for outcome in _OUTCOMES}
    if as_json:
        _write_json({"total": total, "dry_run": dry_run, **counts, "letters": letters})
    elif dry_run:
        typer.echo(f"{total} letters would be replayed")
    else:
        typer.echo(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
        for each in letters:
            if each["outcome"] != "replayed":
                typer.echo(f"  {each['id']}: {each['outcome']}: {each['reason']}: {each['message']}", err=True)
    if counts["failed"] or counts["waiting"]:
        raise typer.Exit(EXIT_FAILED)


@app.command()
def drop(  # noqa: PLR0917 -- the command line's order
    ids: IdsArgument = None,
    kind: KindOption = None,
    reason: ReasonOption = None,
    table: TableOption = None,
    older_than: OlderOption = None,
    newer_than: NewerOption = None,
    config: ConfigOption = None,
    *,
    everything: AllOption = False,
    dry_run: DryOption = False,
    as_json: JsonOption = False,
) -> None:
    """Forget letters; nothing is changed in Elasticsearch. The daemon may run or not.

    Exit code 0: done, 1: an id was named that no letter has, 2: the command line or the configuration is wrong.
    """
    wanted = _filter(kind, reason, table, older_than, newer_than)
    _check_meant(ids, wanted, everything=everything)
    with _letters(config) as letters:
        known = [each for each in ids or () if letters is not None and letters.get(each) is not None]
        if letters is None:
            dropped = 0
        elif dry_run:
            dropped = len(known) if ids else letters.count(wanted)
        else:
            dropped = letters.remove(known) if ids else letters.remove_matching(wanted)
    if as_json:
        _write_json({"dropped": dropped, "dry_run": dry_run})
    else:
        typer.echo(f"{dropped} letters {'would be dropped' if dry_run else 'dropped'}")
    if unknown := sorted(set(ids or ()) - set(known)):
        raise _unknown(*unknown)


_OUTCOMES = ("replayed", "failed", "waiting")


def _replay_ids(client: DaemonClient, ids: Sequence[int], *, dry_run: bool) -> Iterator[dict[str, Any]]:
    for identity in ids:
        if dry_run:
            below, above = identity + 1, identity - 1
            yield client.ask("POST", f"/admin/dead-letters/replay?dry_run=true&above={above}&below={below}")
        else:
            yield {"total": 1, "letters": [client.ask("POST", f"/admin/dead-letters/{identity}/replay")]}


def _replay_filtered(client: DaemonClient, wanted: LetterFilter, *, dry_run: bool) -> Iterator[dict[str, Any]]:
    moments = {"before": wanted.before, "since": wanted.since}
    query: dict[str, Any] = {"kind": wanted.kind, "reason": wanted.reason, "table": wanted.table}
    query |= {name: None if moment is None else moment / 1e6 for name, moment in moments.items()}
    query = {name: value for name, value in query.items() if value is not None} | {"limit": _PAGE}
    if dry_run:
        yield client.ask("POST", f"/admin/dead-letters/replay?{urlencode({**query, 'dry_run': 'true'})}")
        return
    above, first = 0, True
    # Letters set aside meanwhile are for the next replay: a moment is a bound that moves with nothing.
    query.setdefault("before", time.time())
    while True:
        answer = client.ask("POST", f"/admin/dead-letters/replay?{urlencode({**query, 'above': above})}")
        yield answer if first else {**answer, "total": 0}
        if answer["next"] is None:
            return
        above, first = answer["next"], False


def _filter(
    kind: Kind | None, reason: str | None, table: str | None, older_than: str | None, newer_than: str | None
) -> LetterFilter:
    from cdc_daemon.store.letter_filter import LetterFilter  # noqa: PLC0415  commands start fast

    return LetterFilter(
        kind=None if kind is None else kind.value,
        reason=reason,
        table=table,
        before=_ago("--older-than", older_than),
        since=_ago("--newer-than", newer_than),
    )


def _ago(option: str, age: str | None) -> int | None:
    from cdc_daemon.config.units import parse_duration  # noqa: PLC0415  commands start fast

    if age is None:
        return None
    try:
        return int((time.time() - parse_duration(age)) * 1e6)
    except ValueError as error:
        raise ConfigError(f"{option}: {error}, found {age!r}") from None


def _check_meant(ids: Sequence[int] | None, wanted: LetterFilter, *, everything: bool) -> None:
    given = [bool(ids), not wanted.is_everything, everything]
    if sum(given) != 1:
        raise ConfigError(
            "expected ids, a filter, or --all, and no two of them",
            hint="such as: cdc-daemon dead-letters replay --reason document_parsing_exception",
        )


def _letters(config: Path | None) -> AbstractContextManager[DeadLetters | None]:
    from cdc_daemon.dead_letters.opening import open_letters  # noqa: PLC0415  commands start fast

    return open_letters(load_settings(config).state.directory)


def _unknown(*ids: int) -> CdcError:
    return CdcError(f"expected dead letters, found none of the id {', '.join(map(str, ids))}")


def _write_json(content: Any) -> None:
    typer.echo(json.dumps(content, indent=2, ensure_ascii=False))
