"""`cdc-daemon init`: a configuration made from what the servers report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cdc_daemon.cli.init_tools.examples import Example, write_example

if TYPE_CHECKING:
    from cdc_daemon.cli.init_tools.text import Login

_CASSANDRA: Final = "Cassandra (of a new configuration)"
_SEARCH: Final = "The search engine (of a new configuration)"


def init(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The configuration to write, or to add mappings to.")
    ] = Path("config.yaml"),
    keyspace: Annotated[
        list[str] | None,
        typer.Option(
            "--keyspace", "-k", metavar="KEYSPACE", help="Only this keyspace; repeatable.", show_default=False
        ),
    ] = None,
    table: Annotated[
        list[str] | None,
        typer.Option(
            "--table",
            "-t",
            metavar="TABLE",
            help="Only this table, with or without its keyspace; repeatable.",
            show_default=False,
        ),
    ] = None,
    *,
    example: Annotated[
        Example | None,
        typer.Option(
            help="Write this example configuration with its index files instead; no server is asked.",
            show_default=False,
        ),
    ] = None,
    minimal: Annotated[
        bool, typer.Option("--minimal", help="Print the shortest configuration, and write no file.")
    ] = False,
    enable_cdc: Annotated[
        bool, typer.Option("--enable-cdc", help="Switch CDC on for the tables that have it off, after a question.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Change the file and the tables without a question.")
    ] = False,
    host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST",
            envvar="CASSANDRA_HOST",
            help="A contact point; repeatable. Default: 127.0.0.1.",
            show_default=False,
            rich_help_panel=_CASSANDRA,
        ),
    ] = None,
    port: Annotated[
        int,
        typer.Option(
            envvar="CASSANDRA_PORT", min=1, max=65535, help="The native transport port.", rich_help_panel=_CASSANDRA
        ),
    ] = 9042,
    username: Annotated[
        str | None,
        typer.Option(
            envvar="CASSANDRA_USERNAME",
            help="The role. Its password is read from --password-file or from $CASSANDRA_PASSWORD.",
            show_default=False,
            rich_help_panel=_CASSANDRA,
        ),
    ] = None,
    password_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="A file that holds the password.", show_default=False, rich_help_panel=_CASSANDRA
        ),
    ] = None,
    search: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            envvar="ELASTICSEARCH_URL",
            help="Its URL, with scheme and port; repeatable. Default: http://127.0.0.1:9200.",
            show_default=False,
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    search_username: Annotated[
        str | None,
        typer.Option(
            envvar="ELASTICSEARCH_USERNAME",
            help="The user. The password is read from --search-password-file or from $ELASTICSEARCH_PASSWORD.",
            show_default=False,
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    search_password_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="A file that holds the password.", show_default=False, rich_help_panel=_SEARCH
        ),
    ] = None,
    search_ca_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="CA certificates (PEM) for its certificate.",
            show_default=False,
            rich_help_panel=_SEARCH,
        ),
    ] = None,
) -> None:
    """Write a commented configuration for the tables of a live Cassandra.

    Without **--keyspace** and **--table** it has a mapping for every table. Passwords are not written into it: it names
    their files or environment variables. If the file exists, its servers are asked, and mappings of tables that it does
    not show are proposed. With **--example** it writes an example configuration, and the files that the example names
    beside it. Exit code 0: done, or nothing to add, 1: Cassandra does not answer, 2: wrong usage.
    """
    if example is not None:
        written = write_example(example, output)
        typer.echo(f"{output}: the example {example}, with {len(written) - 1} files in {output.parent / 'examples'}")
        typer.echo(f"next: cdc-daemon check --config {output}")
        return
    from cdc_daemon.cli.init_tools.making import Maker, Wanted, can_ask, state_directory  # noqa: PLC0415  start fast
    from cdc_daemon.cli.init_tools.text import ServerAddresses  # noqa: PLC0415  likewise
    from cdc_daemon.telemetry.logs import quiet_logs  # noqa: PLC0415  likewise

    quiet_logs()
    maker = Maker(
        Wanted(
            file=output,
            keyspaces=keyspace or (),
            tables=table or (),
            minimal=minimal,
            enable_cdc=enable_cdc,
            yes=yes,
        ),
        tell=typer.echo,
        ask=lambda question: yes or (can_ask() and typer.confirm(question)),
    )
    if output.exists() and not minimal:
        maker.extend()
        return
    maker.make(
        ServerAddresses(
            contact_points=host or ["127.0.0.1"],
            port=port,
            login=_login(username, password_file, "CASSANDRA_PASSWORD"),
            search_hosts=search or ["http://127.0.0.1:9200"],
            search_login=_login(search_username, search_password_file, "ELASTICSEARCH_PASSWORD"),
            search_ca_file=None if search_ca_file is None else str(search_ca_file.absolute()),
            state_directory=state_directory(),
        )
    )
    if not minimal:
        typer.echo(f"next: cdc-daemon check --config {output}")


def _login(username: str | None, password_file: Path | None, variable: str) -> Login | None:
    from cdc_daemon.cli.init_tools.text import Login  # noqa: PLC0415  commands start fast

    if username is None:
        return None
    return Login(username, None if password_file is None else str(password_file.absolute()), variable)
