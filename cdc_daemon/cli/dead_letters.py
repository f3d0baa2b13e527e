"""`cdc-daemon dead-letters …`: list, show, replay and drop changes that could not be replicated."""

from __future__ import annotations

import dataclasses
import json
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cdc_daemon.cli.common import (
    EXIT_FAILED,
    LARGEST_ID,
    AuthorityOption,
    ConfigOption,
    JsonOption,
    TokenOption,
    UrlOption,
    WaitOption,
    connect_daemon,
    load_settings,
)
from cdc_daemon.cli.completion import complete_table
from cdc_daemon.model.errors import CdcError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from cdc_daemon.store.dead_letter_filter import DeadLetterFilter
    from cdc_daemon.store.dead_letters import DeadLetters

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Dead letters are changes that could not be replicated: documents that the search engine rejects, rows that "
    "no document can be built of, partitions that cannot be read, and mutations and parts of segments that cannot be "
    "decoded.",
)

_SHOWN = 50


class DeadLetterKind(StrEnum):
    """The kinds of dead letters."""

    DOCUMENT = "document"
    PARTITION = "partition"
    MUTATION = "mutation"
    SEGMENT = "segment"


IdsArgument = Annotated[
    list[int] | None, typer.Argument(metavar="[ID]…", min=1, max=LARGEST_ID, help="The ids of dead letters.")
]
KindOption = Annotated[
    DeadLetterKind | None, typer.Option("--kind", help="Only dead letters of this kind.", show_default=False)
]
ReasonOption = Annotated[
    str | None,
    typer.Option("--reason", metavar="REASON", help="Only dead letters with this reason, such as an error.type."),
]
TableOption = Annotated[
    str | None,
    typer.Option(
        "--table",
        metavar="TABLE",
        help="Only dead letters of this table, such as sunbird.user.",
        autocompletion=complete_table,
    ),
]
OlderOption = Annotated[
    str | None,
    typer.Option("--older-than", metavar="AGE", help="Only if the last failure is older, such as 90m or 7d."),
]
NewerOption = Annotated[
    str | None, typer.Option("--newer-than", metavar="AGE", help="Only if the last failure is more recent, such as 1h.")
]
AllOption = Annotated[bool, typer.Option("--all", help="All dead letters.")]
DryOption = Annotated[
    bool,
    typer.Option("--dry-run", help="Only count the dead letters; `list` with the same filter shows them."),
]


@app.command("list")
def list_(  # noqa: PLR0917 -- the command line's order
    kind: KindOption = None,
    reason: ReasonOption = None,
    table: TableOption = None,
    older_than: OlderOption = None,
    newer_than: NewerOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=LARGEST_ID, help="The maximum number shown.")] = _SHOWN,
    below: Annotated[
        int | None,
        typer.Option(
            "--below",
            metavar="ID",
            min=1,
            max=LARGEST_ID,
            help="Only dead letters with a lower id, to show the next page.",
        ),
    ] = None,
    config: ConfigOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """List dead letters, newest first, and their number for each reason. The daemon need not be running.

    Exit code 0: done, 2: the command line or the configuration is wrong.
    """
    from cdc_daemon.cli.dead_letter_tools import show_letters  # noqa: PLC0415  commands start fast
    from cdc_daemon.cli.output import to_pipe  # noqa: PLC0415  likewise
    from cdc_daemon.sources.dead_letters.reporting import dead_letter_as_json  # noqa: PLC0415  likewise

    wanted = _filter(kind, reason, table, older_than, newer_than)
    with _letters(config) as letters:
        page = dataclasses.replace(wanted, below=below)
        found = list(letters.list(wanted=page, limit=limit)) if letters is not None else []
        reasons = letters.reasons(wanted) if letters is not None else {}
        kept = letters.count() if letters is not None else 0
        last = found[-1].id if found else None
        more = letters is not None and last is not None and letters.count(dataclasses.replace(wanted, below=last)) > 0
    with to_pipe():
        if as_json:
            shown = [dead_letter_as_json(letter) for letter in found]
            _write_json({"total": sum(reasons.values()), "reasons": reasons, "dead_letters": shown})
        else:
            show_letters(found, reasons, kept, more=more)


@app.command()
def show(
    identity: Annotated[int, typer.Argument(metavar="ID", min=1, max=LARGEST_ID, help="The id of the dead letter.")],
    config: ConfigOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Show everything about a dead letter. Exit code 0: shown, 1: there is no dead letter with this id."""
    from cdc_daemon.cli.dead_letter_tools import show_letter  # noqa: PLC0415  commands start fast
    from cdc_daemon.sources.dead_letters.reporting import dead_letter_as_json  # noqa: PLC0415  likewise

    with _letters(config) as letters:
        letter = None if letters is None else letters.get(identity)
    if letter is None:
        raise _unknown(identity)
    if as_json:
        start = letter.payload[:256].hex() if letter.payload is not None and letter.kind == "mutation" else None
        _write_json({**dead_letter_as_json(letter), "payload_start": start})
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
    """Replay dead letters: the running daemon reads their rows again and writes the documents.

    A dead letter that succeeds is deleted. One that fails again is kept with the new reason. Exit code 0: all
    succeeded, 1: some did not, or an id does not exist, or the daemon did not answer, 2: the command line or the
    configuration is wrong.
    """
    from cdc_daemon.cli.dead_letter_tools import number_of, replay_filtered, replay_id, show_replayed  # noqa: PLC0415  likewise

    wanted = _filter(kind, reason, table, older_than, newer_than)
    _check_meant("replay", ids, wanted, everything=everything)
    client = connect_daemon(url, config, token_file, ca_file, wait)
    named = list(dict.fromkeys(ids or ()))
    if named:
        answers = [replay_id(client, identity, dry_run=dry_run) for identity in named]
    else:
        answers = list(replay_filtered(client, wanted, dry_run=dry_run))
    total = sum(answer["total"] for answer in answers)
    letters = [letter for answer in answers for letter in answer["letters"]]
    counts = {outcome: sum(each["outcome"] == outcome for each in letters) for outcome in _OUTCOMES}
    if as_json:
        _write_json({"total": total, "dry_run": dry_run, **counts, "letters": letters})
    elif dry_run:
        typer.echo(f"{number_of(total)} would be replayed")
    else:
        show_replayed(counts, letters)
    if unknown := [each for each, answer in zip(named, answers, strict=False) if not answer["total"]]:
        raise _unknown(*unknown)
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
    """Delete dead letters without replaying them. Nothing changes in the search engine. The daemon need not be running.

    Exit code 0: done, 1: an id does not exist, 2: the command line or the configuration is wrong.
    """
    from cdc_daemon.cli.dead_letter_tools import number_of  # noqa: PLC0415  commands start fast

    wanted = _filter(kind, reason, table, older_than, newer_than)
    _check_meant("drop", ids, wanted, everything=everything)
    with _letters(config) as letters:
        known = [each for each in dict.fromkeys(ids or ()) if letters is not None and letters.get(each) is not None]
        if letters is None:
            dropped = 0
        elif dry_run:
            dropped = len(known) if ids else letters.count(wanted)
        else:
            dropped = letters.remove(known) if ids else letters.remove_matching(wanted)
    if as_json:
        _write_json({"dropped": dropped, "dry_run": dry_run})
    else:
        typer.echo(f"{number_of(dropped)} {'would be dropped' if dry_run else 'dropped'}")
    if unknown := sorted(set(ids or ()) - set(known)):
        raise _unknown(*unknown)


_OUTCOMES = ("replayed", "failed", "waiting")


def _filter(
    kind: DeadLetterKind | None, reason: str | None, table: str | None, older_than: str | None, newer_than: str | None
) -> DeadLetterFilter:
    from cdc_daemon.store.dead_letter_filter import DeadLetterFilter  # noqa: PLC0415  commands start fast

    return DeadLetterFilter(
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


def _check_meant(command: str, ids: Sequence[int] | None, wanted: DeadLetterFilter, *, everything: bool) -> None:
    given = [bool(ids), not wanted.is_everything, everything]
    if sum(given) != 1:
        raise ConfigError(
            "expected exactly one of: ids, a filter, --all",
            hint=f"for example: cdc-daemon dead-letters {command} --reason document_parsing_exception",
        )


def _letters(config: Path | None) -> AbstractContextManager[DeadLetters | None]:
    from cdc_daemon.cli.dead_letter_tools import open_letters  # noqa: PLC0415  commands start fast

    return open_letters(load_settings(config).state.directory)


def _unknown(*ids: int) -> CdcError:
    return CdcError(f"expected ids of dead letters, found no dead letter with the id {', '.join(map(str, ids))}")


def _write_json(content: Any) -> None:
    typer.echo(json.dumps(content, indent=2, ensure_ascii=False))
