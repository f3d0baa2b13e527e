"""`cdc-daemon schema …`: snapshots of the cluster's schema, for reading segments without the cluster."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cdc_daemon.cli.common import ConfigOption, load_settings

if TYPE_CHECKING:
    from cdc_daemon.cassandra.schema_rows import Rows
    from cdc_daemon.config import Settings

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Snapshots of the cluster's schema, for reading segments without the cluster.",
)


@app.callback()
def callback() -> None:
    """Make `export` a subcommand. Without a callback Typer would merge a single subcommand into its parent."""


@app.command()
def export(
    config: ConfigOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", show_default=False, help="The file to write. Default: standard output."
        ),
    ] = None,
    keyspace: Annotated[
        list[str] | None,
        typer.Option(
            "--keyspace", "-k", metavar="KEYSPACE", show_default=False, help="Only this keyspace; repeatable."
        ),
    ] = None,
) -> None:
    """Write a snapshot of the cluster's schema, for **cdc-daemon segments … --schema**.

    The snapshot is JSON. It contains the rows of the `system_schema` tables keyspaces, tables, columns, types,
    dropped_columns and, if there are any, views. Exit code 0: written, 1: Cassandra does not answer, 2: wrong usage.
    """
    from cdc_daemon.cli.files import write_file  # noqa: PLC0415  likewise
    from cdc_daemon.cli.output import to_pipe  # noqa: PLC0415  likewise
    from cdc_daemon.model.errors import ConfigError  # noqa: PLC0415  commands start fast
    from cdc_daemon.telemetry.logs import quiet_logs  # noqa: PLC0415  likewise

    settings = load_settings(config)
    quiet_logs()
    rows = _read(settings)
    known = {row["keyspace_name"] for row in rows["keyspaces"]}
    if absent := sorted(set(keyspace or ()) - known):
        raise ConfigError(
            f"expected keyspaces of the cluster, found no {', no '.join(absent)}",
            hint=f"it has {', '.join(sorted(known))}",
        )
    from cdc_daemon.cassandra.schema_rows import snapshot  # noqa: PLC0415  likewise

    text = json.dumps(snapshot(rows, keyspace or None), indent=1, ensure_ascii=False) + "\n"
    if output is None:
        with to_pipe():
            typer.echo(text, nl=False)
    else:
        write_file(output, text, what="the snapshot")


def _read(settings: Settings) -> Rows:
    from cdc_daemon.cassandra.schema_rows import SchemaReader  # noqa: PLC0415  commands start fast
    from cdc_daemon.cassandra.session import connected  # noqa: PLC0415  likewise

    with connected(settings.cassandra) as session:
        _, rows = asyncio.run(SchemaReader(session).rows())
    return rows
