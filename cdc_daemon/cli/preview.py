"""`cdc-daemon preview`: documents as they would be written now, and their differences from those in the index."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cdc_daemon.cli.common import EXIT_FAILED, ConfigOption, JsonOption, load_settings
from cdc_daemon.cli.completion import complete_type
from cdc_daemon.model.errors import ConfigError
from cdc_daemon.model.text import printable

if TYPE_CHECKING:
    from cdc_daemon.cli.expected_documents import Preview


def preview(
    object_type: Annotated[
        str, typer.Argument(metavar="TYPE", help="The name of a mapping, such as user.", autocompletion=complete_type)
    ],
    ids: Annotated[list[str], typer.Argument(metavar="ID…", help="Ids, as text or as JSON objects of columns.")],
    config: ConfigOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Show documents as they would be written now, and their differences from those in the index. Nothing is changed.

    Exit code 0: all are equal, 1: some differ or cannot be built, or a server does not answer, 2: the command line
    or the configuration is wrong.
    """
    from cdc_daemon.cli.expected_documents import preview as make  # noqa: PLC0415  likewise
    from cdc_daemon.cli.sync import read_ids  # noqa: PLC0415  likewise
    from cdc_daemon.sources.requests.errors import InvalidIdError, UnknownObjectTypeError  # noqa: PLC0415  likewise
    from cdc_daemon.telemetry.logs import quiet_logs  # noqa: PLC0415  commands start fast

    settings = load_settings(config)
    quiet_logs()
    wanted = read_ids(iter(ids))
    if not wanted:
        raise ConfigError("expected at least one id, found none")
    try:
        found = asyncio.run(make(settings, object_type, wanted))
    except InvalidIdError as error:
        asked = wanted[error.at]
        raise ConfigError(
            error.message, id=asked if isinstance(asked, str) else json.dumps(asked), column=error.column
        ) from None
    except UnknownObjectTypeError as error:
        raise ConfigError(error.message) from None
    if as_json:
        typer.echo(json.dumps([plain_preview(each) for each in found], indent=2, ensure_ascii=False))
    else:
        for each in found:
            show_preview(each)
    if not all(each.is_equal for each in found):
        raise typer.Exit(EXIT_FAILED)


def plain_preview(found: Preview) -> dict[str, Any]:
    """Return a preview as plain values."""
    return {
        "id": found.id,
        "alias": found.alias,
        "equal": found.is_equal,
        "reason": _reason(found),
        "error": None if found.error is None else found.error.message,
        "row": None if found.source is None else found.source.decode(),
        "differing": found.differing,
        "document": found.document,
        "indexed": found.indexed,
    }


def _reason(found: Preview) -> str | None:
    """Return one word for the reason that there would be no document, or None."""
    if found.error is not None:
        return type(found.error).__name__
    if found.document is None:
        return "filtered" if found.has_row else "no_row"
    return None


def show_preview(found: Preview) -> None:
    """Print a preview."""
    document, indexed = found.document, found.indexed
    if found.error is not None:
        typer.echo(printable(f"{found.alias}/{found.id}: cannot be built: {_reason(found)}: {found.error.message}"))
        if found.error.hint:
            typer.echo(f"  hint: {found.error.hint}")
        if found.source is not None:
            typer.echo(printable(f"  its row: {found.source.decode()}"))
        typer.echo(
            "  the index has no document with this id" if indexed is None else "  the index has an older document"
        )
        return
    typer.echo(printable(f"{found.alias}/{found.id}: {'equal' if found.is_equal else 'differs'}"))
    if document is None:
        why = "the mapping's where does not match its row" if found.has_row else "Cassandra has no such row"
        if found.is_marked:
            typer.echo(f"  the document is kept and marked as removed, because {why}")
        elif found.mark is not None and indexed is not None:
            typer.echo(f"  the document would be marked as removed, because {why}")
        else:
            typer.echo(f"  there would be no document, because {why}{'' if indexed is None else '; the index has one'}")
        return
    typer.echo(printable(json.dumps(document, indent=2, ensure_ascii=False), keep="\n"))
    if indexed is None:
        typer.echo("  the index has no document with this id")
        return
    for field in found.differing:
        for mark, side in (("-", indexed), ("+", document)):
            if field in side:
                typer.echo(printable(f"{mark} {field}: {json.dumps(side[field], ensure_ascii=False)}"))
