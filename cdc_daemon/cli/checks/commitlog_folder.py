"""Checks of the commit-log folder, where Cassandra 3.11 keeps its active segments. The daemon only reads there."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from cdc_daemon.cassandra.node import NodeSettings
from cdc_daemon.cli.checks.finding import Finding, fail, ok, warn
from cdc_daemon.cli.checks.paths import describe_user, is_same
from cdc_daemon.cli.output import format_age
from cdc_daemon.commitlog.descriptor import VERSION_30, parse_segment_name

_SETTING = "set commit_log.commitlog_directory to commitlog_directory of the node's cassandra.yaml"
_QUIET = 3600.0
"""Seconds without a write after which a folder may be another node's: a running node writes to its system tables."""


def check_commitlog(folder: Path, cdc_raw: Path, node: NodeSettings | None) -> Iterator[Finding]:
    """Check that the commit-log folder can be read, and that it is the node's.

    `node` is None if the node shows no settings.
    """
    name = "commitlog.access"
    if not folder.is_dir():
        found = "is not a directory" if folder.exists() else "does not exist"
        yield fail(name, f"{folder} {found}", _SETTING)
        return
    if is_same(folder, cdc_raw):
        yield fail(name, f"{folder} is also commit_log.cdc_raw_directory", _SETTING)
        return
    user = f"run the daemon as {describe_user(folder.stat().st_uid)}, as Cassandra does"
    if not os.access(folder, os.R_OK | os.X_OK):
        yield fail(name, f"{folder} cannot be read", user)
        return
    named = [(parse_segment_name(path.name), path) for path in folder.iterdir()]
    segments = [path for parsed, path in named if parsed is not None]
    unreadable = next((path for path in sorted(segments) if path.exists() and not os.access(path, os.R_OK)), None)
    if unreadable is not None:
        yield fail(name, f"{unreadable.name} in {folder} cannot be read", user)
        return
    yield ok(name, f"{folder} can be read; the daemon changes nothing there")
    yield from _check_owner(folder, node, segments)


def _check_owner(folder: Path, node: NodeSettings | None, segments: list[Path]) -> Iterator[Finding]:
    """Compare the folder with the node's setting, or, if that is not known, judge by what is in it."""
    name = "commitlog.node"
    theirs = None if node is None else node.text("commitlog_directory")
    if theirs is not None and not is_same(folder, Path(theirs)):
        yield warn(
            name,
            f"the node writes its commit log to {theirs}, but commit_log.commitlog_directory is {folder}",
            "this is correct only if both are the same directory, mounted in two places",
        )
        return
    times = [_modified(path) for path in segments if (parse_segment_name(path.name) or (0,))[0] == VERSION_30]
    if theirs is not None or (segments and not times):
        yield ok(name, "only Cassandra 3.11 needs commit_log.commitlog_directory: no other segments are read there")
    elif not times:
        yield warn(name, f"there are no segments of Cassandra 3.11 in {folder}", _SETTING)
    elif (quiet := time.time() - max(times)) > _QUIET:
        yield warn(name, f"the last write to a segment in {folder} was {format_age(quiet)} ago", _SETTING)
    else:
        yield ok(name, f"a node with Cassandra 3.11 writes to {folder}")


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
