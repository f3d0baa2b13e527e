"""Dead letters for people."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

import typer

from cdc_daemon.dead_letters.shown import plain_letter
from cdc_daemon.segments.output import plain_table, show_table, spell_age, spell_time, text
from cdc_daemon.store.dead_letters import DeadLetter

_LONGEST_MESSAGE = 120


def show_letters(letters: Sequence[DeadLetter], total: int) -> None:
    """Show a table of letters, and how many there are in all."""
    if letters:
        table = plain_table("id", "age", "attempts", "kind", "table", "key", "reason", "message", right=("id", "age"))
        now = time.time()
        for letter in letters:
            age = now - (letter.last_at or letter.at or 0) / 1e6
            message = str(letter.detail.get("message", ""))
            table.add_row(
                str(letter.id),
                spell_age(age),
                str(letter.attempts),
                letter.kind,
                text(f"{letter.keyspace}.{letter.table}" if letter.table else ""),
                text(_key(letter)),
                text(letter.reason),
                text(message if len(message) <= _LONGEST_MESSAGE else message[:_LONGEST_MESSAGE] + "…"),
            )
        show_table(table)
    typer.echo(f"{total} letters" + (f", {len(letters)} shown" if total > len(letters) else ""))


def show_letter(letter: DeadLetter) -> None:
    """Show all of one letter, one thing a line."""
    for name, value in plain_letter(letter).items():
        if name in {"at", "last_at"}:
            moment = letter.at if name == "at" or letter.last_at is None else letter.last_at
            typer.echo(f"{name}: {spell_time(moment or 0)}")
        elif value is not None:
            typer.echo(f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")
    if letter.kind == "mutation" and letter.payload is not None:
        typer.echo(f"payload: {letter.payload[:256].hex()}{'…' if len(letter.payload) > 256 else ''}")


def _key(letter: DeadLetter) -> str:
    key = letter.detail.get("key")
    if isinstance(key, dict):
        return " ".join(f"{column}={value}" for column, value in key.items())
    return "" if letter.partition_key is None else f"0x{letter.partition_key.hex()}"
