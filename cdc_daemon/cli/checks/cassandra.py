"""The checks that query Cassandra."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from cassandra import DriverException, InvalidRequest, OperationTimedOut, Unauthorized
from cassandra.cluster import NoHostAvailable, Session
from cassandra.query import SimpleStatement

from cdc_daemon.app.startup import connect_elasticsearch
from cdc_daemon.cassandra.bundle import bundle_context, now, read_bundle
from cdc_daemon.cassandra.dialect import Dialect, detect
from cdc_daemon.cassandra.node import NodeSettings, find_node, is_local, moves_segments
from cdc_daemon.cassandra.schema import SchemaSource
from cdc_daemon.cassandra.session import connect
from cdc_daemon.cli.checks.clock import check_clock
from cdc_daemon.cli.checks.commit_log import check_commit_log
from cdc_daemon.cli.checks.finding import Finding, fail, ok, warn
from cdc_daemon.cli.checks.mappings import check_mappings, check_polls, unreachable
from cdc_daemon.cli.checks.tables import check_tables
from cdc_daemon.config import Settings
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.errors import CdcError, ConfigError
from cdc_daemon.sources.dependents.finders import make_finders
from cdc_daemon.sources.unlogged_removals.sweep import DocumentedRows

OLDEST, NEWEST = (3, 11), (5, 0)
"""The oldest and the newest release of Cassandra that is supported."""

_EXPIRES_SOON = timedelta(days=30)

_SECONDS = 5.0
"""The timeout of a request. It is short because a person is waiting for the check."""


class CassandraFindings(NamedTuple):
    """The findings, and what other checks need from Cassandra.

    `node` are the node's settings, or None if they may not be read. `mappings` are the declared mappings that fit the
    schema, by name.
    """

    findings: list[Finding]
    node: NodeSettings | None
    mappings: Mapping[str, DocumentMapping]


def check_cassandra(settings: Settings) -> CassandraFindings:
    """Check the node, the mapped tables, the mappings and the polled tables."""
    options = settings.cassandra
    hasty = options.model_copy(update={"request_timeout": min(options.request_timeout, _SECONDS)})
    bundle = [] if options.secure_connect_bundle is None else [check_bundle(options.secure_connect_bundle)]
    if any(finding.status == "fail" for finding in bundle):
        return CassandraFindings(bundle, None, {})
    try:
        session = connect(hasty)
    except CdcError as error:
        unchecked = "; the node's settings and tables were not checked"
        found = fail("cassandra.reachable", f"{error.message}{unchecked}", error.hint)
        return CassandraFindings([*bundle, found], None, {})
    try:
        connected = _check_connected(session, settings)
        return connected._replace(findings=[*bundle, *connected.findings])
    finally:
        session.cluster.shutdown()


def check_bundle(path: Path) -> Finding:
    """Check the secure connect bundle of Astra: its files, and how long its certificates are valid."""
    try:
        bundle = read_bundle(path)
        bundle_context(bundle)
    except ConfigError as error:
        return fail("cassandra.bundle", f"{path}: {error.message}", error.hint)
    found = (
        f"the secure connect bundle leads to {bundle.host}; its certificates are valid until {bundle.expires:%Y-%m-%d}"
    )
    if bundle.expires < now() + _EXPIRES_SOON:
        return warn("cassandra.bundle", found, "download the bundle again from the Astra console in time")
    return ok("cassandra.bundle", found)


def check_dialect(dialect: Dialect, *, tail: bool) -> Iterator[Finding]:
    """Check that a database other than Cassandra is polled only, and list by name what it lacks."""
    if dialect.has_commit_log:
        return
    if tail:
        hint = "set tail: off and declare the tables in poll"
        yield fail("cassandra.version", f"{dialect.name} has no commit log that the daemon can read", hint)
    else:
        yield ok("cassandra.version", f"{dialect.name}, whose tables are polled")
    for number, missing in enumerate(dialect.lacks, start=1):
        yield ok(f"cassandra.lacks.{number}", f"{dialect.name} has {missing}")


def check_version(release: str) -> Finding:
    """Check the release of a node, such as `5.0.6`."""
    numbers = re.match(r"(\d+)\.(\d+)", release)
    found = f"Cassandra {release}"
    if numbers is None or not OLDEST <= (int(numbers[1]), int(numbers[2])) <= NEWEST:
        return fail("cassandra.version", found, "Cassandra 3.11, 4.0, 4.1 or 5.0 is supported")
    return ok("cassandra.version", found)


def _check_connected(session: Session, settings: Settings) -> CassandraFindings:
    node = find_node(session, settings.cassandra.contact_points)
    release = str(node.release_version)

    def ask(query: str, parameters: Sequence[object] = ()) -> Iterable[Any]:
        rows: Iterable[Any] = session.execute(SimpleStatement(query), tuple(parameters) or None, host=node)
        return rows

    try:
        names = {row.keyspace_name for row in ask("SELECT keyspace_name FROM system_schema.keyspaces")}
    except (DriverException, OperationTimedOut, NoHostAvailable) as error:
        return CassandraFindings([_where(node, tail=settings.tail), _unanswered("cassandra.schema", error)], None, {})
    dialect = detect(release, names)
    if dialect.has_commit_log:
        findings = [_where(node, tail=settings.tail), check_version(release)]
    else:
        findings = [ok("cassandra.reachable", f"{node.address} answers"), *check_dialect(dialect, tail=settings.tail)]
    node_settings: NodeSettings | None = None
    try:
        node_settings = NodeSettings.of_rows(ask(NodeSettings.QUERY))
        if settings.tail:
            log = settings.commit_log
            findings += check_commit_log(
                node_settings, follow_markers=log.follow_markers, has_keys=log.keystore is not None
            )
    except (Unauthorized, InvalidRequest) as error:
        role = settings.cassandra.username or "the daemon's role"
        if isinstance(error, InvalidRequest) and dialect.has_commit_log:
            findings += _without_settings(settings, release)
        elif dialect.has_commit_log:
            unread = "the daemon's role may not read the node's settings, so it is not known whether CDC is enabled"
            findings.append(warn("cassandra.settings", unread, f'GRANT SELECT ON KEYSPACE system_views TO "{role}";'))
    except (DriverException, OperationTimedOut, NoHostAvailable) as error:
        findings.append(_unanswered("cassandra.settings", error))
    mappings: Mapping[str, DocumentMapping] = {}
    try:
        findings += check_tables(ask, settings.mappings, tail=settings.tail)
        found, mappings = asyncio.run(_check_schema(session, settings, findings))
        findings += found
        findings += _check_reading(session, settings)
        findings.append(asyncio.run(check_clock(session, settings)))
    except (DriverException, OperationTimedOut, NoHostAvailable) as error:
        findings.append(_unanswered("cassandra.schema", error))
    return CassandraFindings(findings, node_settings, mappings)


def _without_settings(settings: Settings, release: str) -> Iterator[Finding]:
    """Return what cannot be checked on a release without `system_views.settings` (before 4.0)."""
    log = settings.commit_log
    if settings.tail and moves_segments(release) and log.commitlog_directory is None:
        yield fail(
            "commitlog.directory",
            f"Cassandra {release} moves a segment to cdc_raw only when its tables are flushed; until then it is in "
            "commitlog_directory, which the configuration does not name",
            "set commit_log.commitlog_directory to the node's commitlog_directory; or set tail: off, and list the "
            "tables in poll",
        )
    if settings.tail:
        space = "" if log.cdc_total_space else "; set commit_log.cdc_total_space as there"
        yield warn(
            "cassandra.settings",
            f"Cassandra {release} does not show its settings (it has no system_views.settings), so these are not "
            "known: whether CDC is enabled, its directories, cdc_total_space, and commitlog_sync_period",
            f"compare the section commit_log with cassandra.yaml yourself{space}",
        )


def _where(node: Any, *, tail: bool) -> Finding:
    """Check which node answers. Only a daemon that follows a commit log must be beside it."""
    found = f"node {node.address} in datacenter {node.datacenter} answers"
    if not tail or is_local(node.address):
        return ok("cassandra.reachable", found)
    return warn(
        "cassandra.reachable",
        f"{found}, but its address is not an address of this machine",
        "run the daemon on the node whose cdc_raw it reads, and set cassandra.contact_points to that node",
    )


def _check_reading(session: Session, settings: Settings) -> Iterator[Finding]:
    """Read each table as the daemon does: at the same consistency level, with the same role."""
    level = settings.cassandra.consistency
    for name, mapping in settings.mappings.items():
        table = session.cluster.metadata.keyspaces.get(mapping.table.keyspace, None)
        if table is None or mapping.table.table not in table.tables:
            continue
        try:
            session.execute(f'SELECT * FROM "{mapping.table.keyspace}"."{mapping.table.table}" LIMIT 1')  # noqa: S608
        except Unauthorized:
            role = settings.cassandra.username or "the daemon's role"
            grant = f'GRANT SELECT ON "{mapping.table.keyspace}"."{mapping.table.table}" TO "{role}";'
            yield fail(f"read.{name}", f"{mapping.table} may not be read", grant)
        except (DriverException, OperationTimedOut, NoHostAvailable) as error:
            yield fail(
                f"read.{name}",
                f"{mapping.table} cannot be read at {level}: {_text(error)}",
                "check that enough replicas are up, and that the keyspace is replicated to the local datacenter",
            )
        else:
            yield ok(f"read.{name}", f"{mapping.table} can be read at {level}")


async def _check_schema(
    session: Session, settings: Settings, found: Sequence[Finding]
) -> tuple[list[Finding], Mapping[str, DocumentMapping]]:
    """Check mappings and polled tables against the schema. Return the findings, and the mappings that fit the schema.

    A mapping is skipped if its columns or its id already have a finding with the status fail.
    """
    schema = SchemaSource(session)
    try:
        await schema.refresh()
    except CdcError as error:
        return [fail("cassandra.schema", f"the schema could not be read: {error.message}", error.hint)], {}
    wrong = {finding.name for finding in found if finding.status == "fail"}
    unmistaken = {
        name: mapping for name, mapping in settings.mappings.items() if not wrong & {f"columns.{name}", f"id.{name}"}
    }
    async with AsyncExitStack() as stack:
        try:
            engine = connect_elasticsearch(settings.elasticsearch)
        except ConfigError:
            return [], {}  # the checks of the search engine report it; mappings cannot be checked without a client
        stack.push_async_callback(engine.close)
        rows = DocumentedRows(engine, {})

        def find_dependents(mapping: DocumentMapping) -> None:
            # This does not search: creating a finder raises if it could not find documents as declared.
            make_finders([mapping], schema.table, session=session, rows=rows)

        findings, mappings = check_mappings(schema.current, unmistaken, validate=find_dependents)
    shown = [table for each in settings.mappings.values() for table in (each.table, *each.joined_tables)]
    try:
        findings += [finding async for finding in check_polls(session, schema, settings.poll, shown)]
    except CdcError as error:
        findings += unreachable(settings.poll, error)
    return findings, mappings


def _unanswered(name: str, error: Exception) -> Finding:
    return fail(name, f"the node did not answer a query: {_text(error)}", "see the node's log")


def _text(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
