"""The options that the commands on segments share, and functions that evaluate them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cdc_daemon.cli.completion import complete_keyspace, complete_table

if TYPE_CHECKING:
    from cdc_daemon.commitlog.encryption import Keyring
    from cdc_daemon.config import Settings

Paths = Annotated[list[str], typer.Argument(metavar="PATH", show_default=False, help="Segments, directories, or `-`.")]
SchemaOption = Annotated[
    Path | None,
    typer.Option(
        "--schema",
        "-s",
        metavar="SNAPSHOT",
        show_default=False,
        help="A schema snapshot, made by **cdc-daemon schema export**. Default: the schema of the configured cluster, "
        "and the schema history in the state of its daemon.",
    ),
]
KeystoreOption = Annotated[
    Path | None,
    typer.Option(
        "--keystore",
        metavar="FILE",
        show_default=False,
        help="The JCEKS keystore named in cassandra.yaml, for encrypted segments.",
    ),
]
KeystorePasswordOption = Annotated[
    Path | None,
    typer.Option(
        "--keystore-password-file",
        metavar="FILE",
        show_default=False,
        help="A file with the password of the keystore. Default: $CDC_DAEMON_KEYSTORE_PASSWORD.",
    ),
]
KeyPasswordOption = Annotated[
    Path | None,
    typer.Option(
        "--key-password-file",
        metavar="FILE",
        show_default=False,
        help="A file with the password of the keys, if it differs. Default: $CDC_DAEMON_KEY_PASSWORD.",
    ),
]
KeyspaceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--keyspace",
        "-k",
        metavar="KEYSPACE",
        show_default=False,
        help="Only this keyspace; repeatable.",
        autocompletion=complete_keyspace,
    ),
]
TableOption = Annotated[
    list[str] | None,
    typer.Option(
        "--table",
        "-t",
        metavar="TABLE",
        show_default=False,
        help="Only this table, as `table` or `keyspace.table`; repeatable.",
        autocompletion=complete_table,
    ),
]


def check_paths(paths: list[str]) -> None:
    """Raise `BadParameter` for paths that do not exist."""
    from cdc_daemon.cli.segment_tools.reading import missing  # noqa: PLC0415  commands start fast

    if absent := missing(paths):
        raise typer.BadParameter(f"there is no {', no '.join(absent)}", param_hint="PATH")


def keyring_of(keystore: Path | None, password: Path | None, key_password: Path | None) -> Keyring | None:
    """Open the keystore in the options, or return None if there is none. Raises `ConfigError`."""
    from cdc_daemon.sources.log.keyring import open_keyring  # noqa: PLC0415  commands start fast

    return open_keyring(keystore, password, key_password)


def settings_if_any(config: Path | None, *, needed: bool) -> Settings | None:
    """Load the configuration. Return None if none was given, none is at the default paths, and it is not `needed`."""
    from cdc_daemon.cli.common import find_config, load_settings  # noqa: PLC0415  commands start fast
    from cdc_daemon.model.errors import ConfigError  # noqa: PLC0415  likewise

    if config is None and not needed:
        try:
            find_config(None)
        except ConfigError:
            return None
    return load_settings(config)


def settings_for_tables(schema: Path | None, config: Path | None) -> Settings | None:
    """Load the configuration unless a schema snapshot is given. Raises `ConfigError`."""
    from cdc_daemon.cli.common import load_settings  # noqa: PLC0415  commands start fast
    from cdc_daemon.model.errors import ConfigError  # noqa: PLC0415  likewise

    if schema is not None:
        return None
    try:
        return load_settings(config)
    except ConfigError as error:
        if config is None and not error.where:
            error.hint = f"set a schema snapshot with --schema; or {error.hint}"
        raise


def write_json(value: object) -> None:
    """Print a value as JSON."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
