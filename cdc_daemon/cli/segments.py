"""`cdc-daemon segments …`: list, dump, verify and count the contents of commit log segments. Nothing is changed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cdc_daemon.cli.common import EXIT_FAILED, ConfigOption, JsonOption
from cdc_daemon.cli.output import say, to_pipe
from cdc_daemon.cli.segment_options import (
    KeyPasswordOption,
    KeyspaceOption,
    KeystoreOption,
    KeystorePasswordOption,
    Paths,
    SchemaOption,
    TableOption,
    check_paths,
    keyring_of,
    settings_for_tables,
    settings_if_any,
    write_json,
)

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Inspect the commit log segments of Cassandra 3.11, 4.0, 4.1 and 5.0, also compressed and encrypted ones.\n\n"
    "PATH is a segment, a directory of segments, or `-` for paths on standard input, one per line. "
    "Nothing is changed.",
)


@app.command("list")
def list_(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH",
            show_default=False,
            help="Segments, directories, or `-`. Default: the configured cdc_raw directory, with Cassandra 3.11 also "
            "the configured commit-log directory.",
        ),
    ] = None,
    *,
    config: ConfigOption = None,
    schema: SchemaOption = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Do not read the segments; the list then has no tables.")
    ] = False,
    keystore: KeystoreOption = None,
    keystore_password_file: KeystorePasswordOption = None,
    key_password_file: KeyPasswordOption = None,
    as_json: JsonOption = False,
) -> None:
    """List segments with index file, size, age, CDC tables, and whether the daemon has consumed them.

    The column consumed needs a configuration. The names of tables need a configuration or --schema. Exit code 0:
    listed, 1: some segments could not be read, 2: wrong usage.
    """
    from cdc_daemon.cli.segment_tools import listing  # noqa: PLC0415  likewise
    from cdc_daemon.cli.segment_tools.reading import configured_folders, find_segments  # noqa: PLC0415  likewise
    from cdc_daemon.cli.segment_tools.reporting import showing_progress  # noqa: PLC0415  likewise
    from cdc_daemon.cli.segment_tools.state import read_consumption  # noqa: PLC0415  likewise
    from cdc_daemon.cli.segment_tools.tables import open_tables_if_any  # noqa: PLC0415  likewise
    from cdc_daemon.commitlog.schema import Schema  # noqa: PLC0415  commands start fast

    settings = settings_if_any(config, needed=not paths)
    if not paths:
        assert settings is not None
        paths = configured_folders(settings.commit_log)
    check_paths(paths)
    keyring = keyring_of(keystore, keystore_password_file, key_password_file)
    consumption = read_consumption(settings)
    with open_tables_if_any(None if quick else schema, None if quick else settings) as tables:
        known = Schema() if tables is None else tables.current
        with to_pipe(), showing_progress() as progress:
            found = [
                listing.list_segment(
                    path,
                    schema=known,
                    look_inside=not quick,
                    keyring=keyring,
                    consumption=consumption,
                    progress=progress,
                )
                for path in find_segments(paths, sys.stdin)
            ]
            progress.clear()
            if as_json:
                write_json([each.as_dict() for each in found])
            else:
                listing.show_list(found, known_tables=tables is not None)
    for problem in listing.all_problems(found):
        say(f"error: {problem}")
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
        bool, typer.Option("--raw", help="Write keys, clusterings, paths and values as Cassandra's bytes in hex.")
    ] = False,
    after: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="POSITION",
            show_default=False,
            help="Start after this position, OFFSET or SEGMENT:OFFSET. Each dumped line contains its position.",
        ),
    ] = None,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow",
            "-f",
            help="Continue with what Cassandra writes, in a directory also with new segments, until Ctrl-C. With "
            "Cassandra 3.11, give both the commit-log directory and cdc_raw.",
        ),
    ] = False,
    keystore: KeystoreOption = None,
    keystore_password_file: KeystorePasswordOption = None,
    key_password_file: KeyPasswordOption = None,
) -> None:
    """Write one JSON object for each partition update, in log order.

    Write times are in microseconds since the epoch, TTLs and local deletion times in seconds. Errors are reported on
    standard error; the command then continues with the next part that can be read. Exit code 0: everything was read, 1:
    something was not, 2: wrong usage.
    """
    from cdc_daemon.cli.segment_tools import dump as dumping  # noqa: PLC0415  commands start fast
    from cdc_daemon.cli.segment_tools.follow import SegmentFollower, follow_segments  # noqa: PLC0415  likewise
    from cdc_daemon.cli.segment_tools.mutations import MutationReader  # noqa: PLC0415  likewise
    from cdc_daemon.cli.segment_tools.reading import STANDARD_INPUT, find_segments, only_segment  # noqa: PLC0415  likewise
    from cdc_daemon.cli.segment_tools.reporting import ProblemReport, showing_progress  # noqa: PLC0415  likewise
    from cdc_daemon.cli.segment_tools.tables import TableFilter, open_tables  # noqa: PLC0415  likewise

    begin = dumping.StartPosition() if after is None else dumping.parse_position(after)
    check_paths(paths)
    if after is not None and begin.segment_id is None and not only_segment(paths):
        raise typer.BadParameter("expected SEGMENT:OFFSET, because there may be several segments", param_hint="--from")
    if follow and STANDARD_INPUT in paths:
        raise typer.BadParameter("expected segments or directories, found -", param_hint="--follow")
    keyring = keyring_of(keystore, keystore_password_file, key_password_file)
    with open_tables(schema, settings_for_tables(schema, config)) as tables:
        wanted = TableFilter(tables, keyspace or (), table or ())
        wanted.check()
        reader = MutationReader(tables, wanted)
        with showing_progress(output_is_data=True) as progress:
            report = ProblemReport(progress)
            dumper = dumping.Dumper(reader, sys.stdout.buffer.write, report, raw=raw)
            with to_pipe():
                if follow:
                    following = SegmentFollower([Path(each) for each in paths], dumper, keyring=keyring, after=begin)
                    follow_segments(following, flush=sys.stdout.buffer.flush)
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
    """Check all checksums of segments: header, sync markers, entries, and compressed and encrypted blocks.

    Each problem is reported with its logical position (and its position in the file, if that differs), what was
    expected and what was found. No schema is needed. Exit code 0: valid, 1: damaged or not readable, 2: wrong usage.
    """
    from cdc_daemon.cli.segment_tools import verify as verifying  # noqa: PLC0415  commands start fast
    from cdc_daemon.cli.segment_tools.reading import find_segments  # noqa: PLC0415  likewise
    from cdc_daemon.cli.segment_tools.reporting import showing_progress  # noqa: PLC0415  likewise

    check_paths(paths)
    keyring = keyring_of(keystore, keystore_password_file, key_password_file)
    found = []
    with to_pipe(), showing_progress() as progress:
        for path in find_segments(paths, sys.stdin):
            verification = verifying.verify(path, keyring=keyring, progress=progress)
            found.append(verification)
            progress.clear()
            if not as_json:
                verifying.show_verification(verification)
        ok = all(each.ok for each in found)
        if as_json:
            write_json({"ok": ok, "segments": [each.as_dict() for each in found]})
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
    """Count bytes, mutations, partitions, rows and deletions by table, and show the range of write times.

    Partitions are distinct partition keys. If a table has more than 4096, their number is estimated, with an error of a
    few percent. Exit code 0: everything was read, 1: something was not, 2: wrong usage.
    """
    from cdc_daemon.cli.segment_tools.mutations import MutationReader  # noqa: PLC0415  commands start fast
    from cdc_daemon.cli.segment_tools.reading import find_segments  # noqa: PLC0415  likewise
    from cdc_daemon.cli.segment_tools.reporting import ProblemReport, showing_progress  # noqa: PLC0415  likewise
    from cdc_daemon.cli.segment_tools.stats import Statistics, show_statistics  # noqa: PLC0415  likewise
    from cdc_daemon.cli.segment_tools.tables import TableFilter, open_tables  # noqa: PLC0415  likewise

    check_paths(paths)
    keyring = keyring_of(keystore, keystore_password_file, key_password_file)
    with (
        open_tables(schema, settings_for_tables(schema, config)) as tables,
        to_pipe(),
        showing_progress() as progress,
    ):
        wanted = TableFilter(tables, keyspace or (), table or ())
        wanted.check()
        reader = MutationReader(tables, wanted)
        report = ProblemReport(progress)
        statistics = Statistics(reader, report)
        statistics.read(find_segments(paths, sys.stdin), keyring=keyring, progress=progress)
        progress.clear()
        if as_json:
            write_json(statistics.as_dict())
        else:
            show_statistics(statistics)
        report.end(reader.unknown)
    if report.count:
        raise typer.Exit(EXIT_FAILED)
