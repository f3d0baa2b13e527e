"""What commands found, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from cdc_daemon.cli.segment_tools import output

if TYPE_CHECKING:  # verifying needs no driver, and should not wait for it
    from collections.abc import Sequence

    from cdc_daemon.cli.segment_tools.listing import ListedSegment
    from cdc_daemon.cli.segment_tools.stats import Statistics
    from cdc_daemon.cli.segment_tools.verify import Verification


def show_list(segments: Sequence[ListedSegment], *, known_tables: bool) -> None:
    """Show segments as a table; `known_tables` tells whether tables have names."""
    heading = "CDC tables (updates)" if known_tables else "tables (updates)"
    table = output.plain_table("segment", "index", "size", "age", "consumed", heading, right=("size", "age"))
    for each in segments:
        inside = each.tables if known_tables else each.others
        named = "" if inside is None else ", ".join(f"{name} ({count})" for name, count in inside.most_common())
        if each.encrypted or each.compression:
            kind = ", ".join(filter(None, [each.compression, "encrypted" if each.encrypted else None]))
            named = f"[{kind}] {named}"
        consumed = each.consumed or "?"
        if each.consumed_up_to is not None and consumed == "partly":
            consumed = f"up to {each.consumed_up_to}"
        table.add_row(
            output.text(each.path.name),
            each.state,
            output.spell_bytes(each.size),
            output.spell_age(each.age),
            consumed,
            output.text(named),
        )
    output.show_table(table)


def show_verification(found: Verification) -> None:
    """Show what was found in one segment."""
    if found.error is not None:
        typer.echo(f"{found.path}: cannot be read")
        typer.echo(f"  {found.error}")
        return
    state = "ok" if found.ok else f"{len(found.problems)} problem{'s' if len(found.problems) > 1 else ''}"
    typer.echo(f"{found.path}: {state}, {found.mutations} mutations in {found.sections} sections up to {found.end}")
    for problem in found.problems:
        typer.echo(f"  {problem}")


def show_statistics(statistics: Statistics) -> None:
    """Show the numbers of each table, and of all."""
    numbers = ("mutations", "bytes", "partitions", "rows", "deleted: partitions", "ranges", "rows ", "cells")
    table = output.plain_table("table", *numbers, "oldest write", "newest write", right=numbers)
    for name in sorted(statistics.tables):
        each = statistics.tables[name]
        about = "" if each.partitions.exact else "~"
        table.add_row(
            output.text(name),
            str(each.mutations),
            str(each.size),
            f"{about}{each.partitions.count}",
            str(each.rows),
            str(each.partition_deletions),
            str(each.range_deletions),
            str(each.row_deletions),
            str(each.cell_deletions),
            output.spell_time(each.written.oldest) if each.written.oldest is not None else "",
            output.spell_time(each.written.newest) if each.written.newest is not None else "",
        )
    output.show_table(table)
    read = len(statistics.segments)
    typer.echo(
        f"{statistics.mutations} mutations, {output.spell_bytes(statistics.size)}, in {read} segment"
        f"{'' if read == 1 else 's'}"
        + (f"; {statistics.unknown} updates of unknown tables" if statistics.unknown else "")
    )
