"""Dead letters for the commands: open the state directory, replay by a running daemon, print."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import typer

from cdc_daemon.cli.client import DaemonClient
from cdc_daemon.cli.common import LARGEST_ID
from cdc_daemon.cli.output import format_age, format_time, plain_table, show_table, text
from cdc_daemon.model.text import printable
from cdc_daemon.sources.dead_letters.reporting import dead_letter_as_json
from cdc_daemon.store.dead_letter_filter import DeadLetterFilter
from cdc_daemon.store.dead_letters import DeadLetter, DeadLetters
from cdc_daemon.store.store import FILE_NAME, Store
from cdc_daemon.values.messages import cut

_PAGE = 200
"""The number of dead letters that one request replays."""

_LONGEST_MESSAGE = 120

_ID_DIGITS = 32
"""Hexadecimal digits of a table's id."""

_LISTED = 20
"""The maximum number of dead letters that are listed after a replay."""


@contextmanager
def open_letters(directory: Path) -> Iterator[DeadLetters | None]:
    """Open the dead letters of a state directory, whether its daemon runs or not.

    Yields None, and creates nothing, where no daemon has ever kept anything. Raises `StoreError` if the state cannot
    be read.
    """
    if not (directory / FILE_NAME).is_file():
        yield None
        return
    store = Store(directory)
    try:
        yield store.dead_letters
    finally:
        store.close()


def replay_id(client: DaemonClient, identity: int, *, dry_run: bool) -> dict[str, Any]:
    """Replay one dead letter. The answer counts none if the id does not exist."""
    query = {"above": identity - 1, "limit": 1} | ({"below": identity + 1} if identity < LARGEST_ID else {})
    answer: dict[str, Any] = client.ask(
        "POST", f"/admin/dead-letters/replay?{urlencode(query | ({'dry_run': 'true'} if dry_run else {}))}"
    )
    return answer


def replay_filtered(client: DaemonClient, wanted: DeadLetterFilter, *, dry_run: bool) -> Iterator[dict[str, Any]]:
    """Replay the dead letters of a filter page by page. The answer to the first page contains their total number."""
    moments = {"before": wanted.before, "since": wanted.since}
    query: dict[str, Any] = {"kind": wanted.kind, "reason": wanted.reason, "table": wanted.table}
    query |= {name: None if moment is None else moment / 1e6 for name, moment in moments.items()}
    query = {name: value for name, value in query.items() if value is not None} | {"limit": _PAGE}
    if dry_run:
        yield client.ask("POST", f"/admin/dead-letters/replay?{urlencode({**query, 'dry_run': 'true'})}")
        return
    above, first = 0, True
    # Dead letters that are added meanwhile, or fail again, are left to the next replay.
    query.setdefault("before", time.time())
    while True:
        answer = client.ask("POST", f"/admin/dead-letters/replay?{urlencode({**query, 'above': above})}")
        yield answer if first else {**answer, "total": 0}
        if answer["next"] is None:
            return
        above, first = answer["next"], False


def number_of(letters: int) -> str:
    """Format a number of dead letters."""
    return f"{letters:,} dead letter{'' if letters == 1 else 's'}"


def show_letters(letters: Sequence[DeadLetter], reasons: Mapping[str, int], kept: int, *, more: bool) -> None:
    """Print a table of dead letters and their number.

    `reasons` counts all that match the filter, by reason; `kept` is the number of all dead letters.
    """
    if letters:
        table = plain_table(
            *("id", "age", "attempts", "kind", "count", "table", "key", "reason", "message"),
            right=("id", "age", "count"),
        )
        now = time.time()
        for letter in letters:
            age = now - (letter.last_at or letter.at or 0) / 1e6
            message = str(letter.detail.get("message", ""))
            table.add_row(
                str(letter.id),
                format_age(age),
                str(letter.attempts),
                letter.kind,
                f"{letter.count:,}",
                text(_table(letter)),
                text(cut(_key(letter), _LONGEST_MESSAGE)),
                text(letter.reason),
                text(cut(message, _LONGEST_MESSAGE)),
            )
        show_table(table)
    total = sum(reasons.values())
    parts = [number_of(total) if total == kept else f"{number_of(total)} of {kept:,}"]
    if total > len(letters):
        parts.append(f"{len(letters):,} shown")
        if more:
            parts.append(f"next page: --below {letters[-1].id}")
    typer.echo(", ".join(parts))
    if total > len(letters):
        for reason, count in reasons.items():
            typer.echo(f"  {count:,} {reason}")


def show_letter(letter: DeadLetter) -> None:
    """Print one dead letter, one field per line."""
    plain = dead_letter_as_json(letter)
    message = plain["detail"].pop("message", None)
    for name, value in {**plain, "message": message}.items():
        if name in {"at", "last_at"}:
            moment = letter.at if name == "at" or letter.last_at is None else letter.last_at
            typer.echo(f"{name}: {format_time(moment or 0)}")
        elif value is not None:
            shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            typer.echo(f"{name}: {printable(shown)}")
    if letter.kind == "mutation" and letter.payload is not None:
        typer.echo(f"payload: {letter.payload[:256].hex()}{'…' if len(letter.payload) > 256 else ''}")


def show_replayed(counts: Mapping[str, int], letters: Sequence[Mapping[str, Any]]) -> None:
    """Print the results of a replay, and on standard error the reasons of the first dead letters that are kept."""
    typer.echo(", ".join(f"{count:,} {outcome}" for outcome, count in counts.items()))
    kept = [letter for letter in letters if letter["outcome"] != "replayed"]
    for each in kept[:_LISTED]:
        typer.echo(f"  {each['id']}: {each['outcome']}: {each['reason']}: {printable(str(each['message']))}", err=True)
    if len(kept) > _LISTED:
        others = f"{len(kept) - _LISTED:,} others"
        typer.echo(f"  and {others}: use cdc-daemon dead-letters list, or --json here, to show them", err=True)


def _table(letter: DeadLetter) -> str:
    """Return the name of a dead letter's table, or its id if the table is unknown."""
    if letter.table_id is not None and len(letter.table_id) == _ID_DIGITS:
        return str(UUID(letter.table_id))
    return f"{letter.keyspace}.{letter.table}" if letter.table else ""


def _key(letter: DeadLetter) -> str:
    key = letter.detail.get("key")
    if isinstance(key, dict):
        return " ".join(f"{column}={value}" for column, value in key.items())
    return "" if letter.partition_key is None else f"0x{letter.partition_key.hex()}"
