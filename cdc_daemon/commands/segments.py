"""`cdc-daemon segments …`: look inside commit-log segments. Nothing is changed anywhere."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cdc_daemon.commands.common import EXIT_FAILED, ConfigOption, JsonOption

if TYPE_CHECKING:
    from cdc_daemon.commitlog.encryption import Keyring
    from cdc_daemon.config import Settings

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Look inside Cassandra's commit-log segments (4.0, 4.1, 5.0; compressed, encrypted): list, dump, verify, "
    "count.\n\n"
    "PATH is a segment, a folder of segments, or `-` for paths on standard input, one a line. "
    "Nothing is changed anywhere.",
)

Paths = Annotated[list[str], typer.Argument(metavar="PATH", show_default=False, help="Segments, folders, or `-`.")]
SchemaOption = Annotated[
    Path | None,
    typer.Option(
        "--schema",
        "-s",
        metavar="SNAPSHOT",
        show_default=False,
        help="What tables there are: a file of **cdc-daemon schema export**. Without it: the live cluster that the "
        "configuration names, and what its daemon remembers.",
    ),
]
KeystoreOption = Annotated[
    Path | None,
    typer.Option(
        "--keystore",
        metavar="FILE",
        show_default=False,
        help="The JCEKS keystore that cassandra.yaml names, for encrypted segments.",
    ),
]
KeystorePasswordOption = Annotated[
    Path | None,
    typer.Option(
        "--keystore-password-file",
        metavar="FILE",
        show_default=False,
        help="A file with the keystore's password. Without it: $CDC_DAEMON_KEYSTORE_PASSWORD.",
    ),
]
KeyPasswordOption = Annotated[
    Path | None,
    typer.Option(
        "--key-password-file",
        metavar="FILE",
        show_default=False,
        help="A file with the keys' password, where it is another. Without it: $CDC_DAEMON_KEY_PASSWORD.",
    ),
]
KeyspaceOption = Annotated[
    list[str] | None,
    typer.Option("--keyspace", "-k", metavar="KEYSPACE", show_default=False, help="Only this keyspace; repeatable."),
]
TableOption = Annotated[
    list[str] | None,
    typer.Option(
        "--table",
        "-t",
        metavar="TABLE",
        show_default=False,
        help="Only this table, as `table` or `keyspace.table`; repeatable.",
    ),
]


@app.command("list")
def list_(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH",
            show_default=False,
            help="Segments, folders, or `-`; without it the configuration's cdc_raw.",
        ),
    ] = None,
    *,
    config: ConfigOption = None,
    schema: SchemaOption = None,
    quick: Annotated[bool, typer.Option("--quick", help="Do not look inside: no tables, but at once.")] = False,
    keystore: KeystoreOption = None,
    keystore_password_file: KeystorePasswordOption = None,
    key_password_file: KeyPasswordOption = None,
    as_json: JsonOption = False,
) -> None:
    """List segments: index file, size, age, the CDC tables inside, and whether the daemon has consumed them.

    Whether a segment is consumed, and the names of tables, take a configuration (or --schema for names).
    Exit code 0: listed, 1: some could not be read, 2: wrong usage.
    """
    from cdc_daemon.commitlog.schema import Schema  # noqa: PLC0415  commands start fast
    from cdc_daemon.segments import listing, opening, output, show  # noqa: PLC0415  likewise
    from cdc_daemon.segments.paths import find_segments  # noqa: PLC0415  likewise
    from cdc_daemon.segments.progress import showing_progress  # noqa: PLC0415  likewise

    settings = _settings_if_any(config, needed=not paths)
    if not paths:
        assert settings is not None
        paths = [str(settings.commit_log.cdc_raw_directory)]
    _check_paths(paths)
    keyring = _keyring(keystore, keystore_password_file, key_password_file)
    progressed = opening.progress_of_daemon(settings)
    with opening.open_tables_if_any(None if quick else schema, None if quick else settings) as tables:
        known = Schema() if tables is None else tables.current
        with output.to_pipe(), showing_progress() as progress:
            found = [
                listing.list_segment(
                    path,
                    schema=known,
                    look_inside=not quick,
                    keyring=keyring,
                    progressed=progressed,
                    progress=progress,
                )
                for path in find_segments(paths, sys.stdin)
            ]
            progress.clear()
            if as_json:
                _write_json([each.as_dict() for each in found])
            else:
                show.show_list(found, known_tables=tables is not None)
    for problem in listing.all_problems(found):
        output.say(f"error: {problem}")
    if any(each.problems for each in found):
        raise typer.Exit(EXIT_FAILED)


@app.command()
def dump(
    paths: Paths,
    *,
    schema: SchemaOption = None,
    config: ConfigOption = None,
    keyspace: KeyspaceOption = None,
    table: TableOption = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Keys, clusterings, paths and values as Cassandra's own bytes, in hex.")
    ] = False,
    after: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="POSITION",
            show_default=False,
            help="Begin behind a logical position, OFFSET or SEGMENT:OFFSET: what a dumped line says of itself.",
        ),
    ] = None,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow",
            "-f",
            help="Go on with what Cassandra writes, in a folder with the next segments too, until Ctrl-C.",
        ),
    ] = False,
    keystore: KeystoreOption = None,
    keystore_password_file: KeystorePasswordOption = None,
    key_password_file: KeyPasswordOption = None,
) -> None:
    """Write one JSON object for each partition update, in log order.

    Write times are microseconds since the epoch, TTLs and local deletion times seconds. What cannot be read is
    said on standard error, and what can be read after it is read. Exit code 0: all was read, 1: not all, 2: wrong
    usage.
    """
    from cdc_daemon.segments import dump as dumping  # noqa: PLC0415  commands start fast
    from cdc_daemon.segments import opening, output, updates  # noqa: PLC0415  likewise
    from cdc_daemon.segments.follow import Following  # noqa: PLC0415  likewise
    from cdc_daemon.segments.follow import follow as go_on  # noqa: PLC0415  likewise
    from cdc_daemon.segments.paths import STANDARD_INPUT, find_segments, only_segment  # noqa: PLC0415  likewise
    from cdc_daemon.segments.progress import showing_progress  # noqa: PLC0415  likewise
    from cdc_daemon.segments.report import Report  # noqa: PLC0415  likewise
    from cdc_daemon.segments.tables import Wanted  # noqa: PLC0415  likewise

    begin = dumping.After() if after is None else dumping.parse_position(after)
    _check_paths(paths)
    if after is not None and begin.segment_id is None and not only_segment(paths):
        raise typer.BadParameter("expected SEGMENT:OFFSET where there can be several segments", param_hint="--from")
    if follow and STANDARD_INPUT in paths:
        raise typer.BadParameter("expected segments and folders, found a list on standard input", param_hint="--follow")
    keyring = _keyring(keystore, keystore_password_file, key_password_file)
    with opening.open_tables(schema, _settings_for_tables(schema, config)) as tables:
        wanted = Wanted(tables, keyspace or (), table or ())
        wanted.check()
        reader = updates.MutationReader(tables, wanted)
        with showing_progress(output_is_data=True) as progress:
            report = Report(progress)
            dumper = dumping.Dumper(reader, sys.stdout.buffer.write, report, raw=raw)
            with output.to_pipe():
                if follow:
                    following = Following([Path(each) for each in paths], dumper, keyring=keyring, after=begin)
                    go_on(following, flush=sys.stdout.buffer.flush)
                else:
                    dumping.dump_files(
                        find_segments(paths, sys.stdin), dumper, keyring=keyring, after=begin, progress=progress
                    )
            report.end(reader.unknown)
    if report.count:
        raise typer.Exit(EXIT_FAILED)


@app.command()
def verify(
    paths: Paths,
    *,
    keystore: KeystoreOption = None,
    keystore_password_file: KeystorePasswordOption = None,
    key_password_file: KeyPasswordOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check every checksum of segments: header, sync markers, entries, and compressed and encrypted blocks.

    Each problem is told with its place (logical position, and position in the file where that is another),
    what was expected and what was found. No schema is needed. Exit code 0: clean, 1: damaged or not readable,
    2: wrong usage.
    """
    from cdc_daemon.segments import output, show  # noqa: PLC0415  commands start fast
    from cdc_daemon.segments import verify as verifying  # noqa: PLC0415  likewise
    from cdc_daemon.segments.paths import find_segments  # noqa: PLC0415  likewise
    from cdc_daemon.segments.progress import showing_progress  # noqa: PLC0415  likewise

    _check_paths(paths)
    keyring = _keyring(keystore, keystore_password_file, key_password_file)
    found = []
    with output.to_pipe(), showing_progress() as progress:
        for path in find_segments(paths, sys.stdin):
            verification = verifying.verify(path, keyring=keyring, progress=progress)
            found.append(verification)
            progress.clear()
            if not as_json:
                show.show_verification(verification)
        ok = all(each.ok for each in found)
        if as_json:
            _write_json({"ok": ok, "segments": [each.as_dict() for each in found]})
    if not ok:
        raise typer.Exit(EXIT_FAILED)


@app.command()
def stats(
    paths: Paths,
    *,
    schema: SchemaOption = None,
    config: ConfigOption = None,
    keyspace: KeyspaceOption = None,
    table: TableOption = None,
    keystore: KeystoreOption = None,
    keystore_password_file: KeystorePasswordOption = None,
    key_password_file: KeyPasswordOption = None,
    as_json: JsonOption = False,
) -> None:
    """Count what is in segments: bytes, mutations, partitions, rows and deletions by table, and the time span.

    Partitions are different partition keys; beyond 4096 of a table their number is estimated, within a few
    percent. Exit code 0: all was read, 1: not all, 2: wrong usage.
    """
    from cdc_daemon.segments import opening, output, show, updates  # noqa: PLC0415  commands start fast
    from cdc_daemon.segments.paths import find_segments  # noqa: PLC0415  likewise
    from cdc_daemon.segments.progress import showing_progress  # noqa: PLC0415  likewise
    from cdc_daemon.segments.report import Report  # noqa: PLC0415  likewise
    from cdc_daemon.segments.stats import Statistics  # noqa: PLC0415  likewise
    from cdc_daemon.segments.tables import Wanted  # noqa: PLC0415  likewise

    _check_paths(paths)
    keyring = _keyring(keystore, keystore_password_file, key_password_file)
    with (
        opening.open_tables(schema, _settings_for_tables(schema, config)) as tables,
        output.to_pipe(),
        showing_progress() as progress,
    ):
        wanted = Wanted(tables, keyspace or (), table or ())
        wanted.check()
        reader = updates.MutationReader(tables, wanted)
        report = Report(progress)
        statistics = Statistics(reader, report)
        statistics.read(find_segments(paths, sys.stdin), keyring=keyring, progress=progress)
        progress.clear()
        if as_json:
            _write_json(statistics.as_dict())
        else:
            show.show_statistics(statistics)
        report.end(reader.unknown)
    if report.count:
        raise typer.Exit(EXIT_FAILED)


def _check_paths(paths: list[str]) -> None:
    from cdc_daemon.segments.paths import missing  # noqa: PLC0415  commands start fast

    if absent := missing(paths):
        raise typer.BadParameter(f"there is no {', no '.join(absent)}", param_hint="PATH")


def _keyring(keystore: Path | None, password: Path | None, key_password: Path | None) -> Keyring | None:
    from cdc_daemon.segments.keyring import open_keyring  # noqa: PLC0415  commands start fast

    return open_keyring(keystore, password, key_password)


def _settings_if_any(config: Path | None, *, needed: bool) -> Settings | None:
    """Load the configuration; None where nobody named one, there is none, and it is not needed."""
    from cdc_daemon.commands.common import find_config, load_settings  # noqa: PLC0415  commands start fast
    from cdc_daemon.errors import ConfigError  # noqa: PLC0415  likewise

    if config is None and not needed:
        try:
            find_config(None)
        except ConfigError:
            return None
    return load_settings(config)


def _settings_for_tables(schema: Path | None, config: Path | None) -> Settings | None:
    """Load the configuration unless a snapshot makes it needless. Raises `ConfigError`."""
    from cdc_daemon.commands.common import load_settings  # noqa: PLC0415  commands start fast
    from cdc_daemon.errors import ConfigError  # noqa: PLC0415  likewise

    if schema is not None:
        return None
    try:
        return load_settings(config)
    except ConfigError as error:
        if config is None and not error.where:
            error.hint = f"name a snapshot of the schema with --schema; or {error.hint}"
        raise


def _write_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
