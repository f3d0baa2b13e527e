"""The checks that ask Cassandra."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from cassandra import DriverException, OperationTimedOut, Unauthorized
from cassandra.cluster import NoHostAvailable, Session
from cassandra.query import SimpleStatement

from cdc_daemon.cassandra.node import NodeSettings, find_node, is_local
from cdc_daemon.cassandra.schema_rows import SchemaReader
from cdc_daemon.cassandra.session import connect
from cdc_daemon.check.commit_log import check_commit_log
from cdc_daemon.check.finding import Finding, fail, ok, warn
from cdc_daemon.check.mappings import check_mappings
from cdc_daemon.check.tables import check_tables
from cdc_daemon.commitlog.schema import Schema
from cdc_daemon.config import Settings
from cdc_daemon.errors import CdcError

OLDEST, NEWEST = (4, 0), (5, 0)
"""Releases whose segments are known."""

_SECONDS = 5.0
"""How long a server may take to answer here: somebody is waiting at a terminal."""


def check_cassandra(settings: Settings) -> tuple[list[Finding], NodeSettings | None]:
    """Check the node and the mapped tables; return the node's settings too, as far as they may be read."""
    options = settings.cassandra
    hasty = options.model_copy(update={"request_timeout": min(options.request_timeout, _SECONDS)})
    try:
        session = connect(hasty)
    except CdcError as error:
        untold = "; its settings and tables were not looked at"
        return [fail("cassandra.reachable", f"{error.message}{untold}", error.hint)], None
    try:
        return _check_connected(session, settings)
    finally:
        session.cluster.shutdown()


def check_version(release: str) -> Finding:
    """Judge the release a node tells, such as `5.0.6`."""
    numbers = re.match(r"(\d+)\.(\d+)", release)
    found = f"Cassandra {release}"
    if numbers is None or not OLDEST <= (int(numbers[1]), int(numbers[2])) <= NEWEST:
        return fail("cassandra.version", found, "Cassandra 4.0, 4.1 or 5.0 is supported")
    return ok("cassandra.version", found)


def _check_connected(session: Session, settings: Settings) -> tuple[list[Finding], NodeSettings | None]:
    node = find_node(session, settings.cassandra.contact_points)
    findings = [_where(node), check_version(str(node.release_version))]

    def ask(query: str, parameters: Sequence[object] = ()) -> Iterable[Any]:
        rows: Iterable[Any] = session.execute(SimpleStatement(query), tuple(parameters) or None, host=node)
        return rows

    told: NodeSettings | None = None
    try:
        told = NodeSettings({row.name: row.value for row in ask("SELECT name, value FROM system_views.settings")})
        if settings.tail:
            log = settings.commit_log
            findings += check_commit_log(told, follow_markers=log.follow_markers, has_keys=log.keystore is not None)
    except Unauthorized:
        role = settings.cassandra.username or "the daemon's role"
        findings.append(
            warn(
                "cassandra.settings",
                "the node's settings may not be read, so whether CDC is enabled is not known",
                f'GRANT SELECT ON KEYSPACE system_views TO "{role}";',
            )
        )
    except (DriverException, OperationTimedOut, NoHostAvailable) as error:
        findings.append(_unanswered("cassandra.settings", error))
    try:
        findings += check_tables(ask, settings.mappings, tail=settings.tail)
        findings += _check_mappings(session, settings, findings)
        findings += _check_reading(session, settings)
    except (DriverException, OperationTimedOut, NoHostAvailable) as error:
        findings.append(_unanswered("cassandra.schema", error))
    return findings, told


def _where(node: Any) -> Finding:
    found = f"node {node.address} in datacenter {node.datacenter} answers"
    if is_local(node.address):
        return ok("cassandra.reachable", found)
    return warn(
        "cassandra.reachable",
        f"{found}, but its address is not one of this machine",
        "run the daemon beside the node whose cdc_raw it reads, and name that node in cassandra.contact_points",
    )


def _check_reading(session: Session, settings: Settings) -> Iterator[Finding]:
    """Read each table as the daemon will: at its consistency level, with its role's rights."""
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
                "are enough replicas up, and is the keyspace replicated to the local datacenter?",
            )
        else:
            yield ok(f"read.{name}", f"{mapping.table} can be read at {level}")


def _check_mappings(session: Session, settings: Settings, told: Sequence[Finding]) -> Iterator[Finding]:
    """Lay the mappings against the schema; one whose columns or id are told to be wrong already is not told again."""
    wrong = {finding.name for finding in told if finding.status == "fail"}
    try:
        _, rows = asyncio.run(SchemaReader(session).rows())
    except CdcError as error:
        yield fail("cassandra.schema", f"the schema could not be read: {error.message}", error.hint)
        return
    unmistaken = {
        name: mapping for name, mapping in settings.mappings.items() if not wrong & {f"columns.{name}", f"id.{name}"}
    }
    yield from check_mappings(Schema.from_rows(**rows), unmistaken)


def _unanswered(name: str, error: Exception) -> Finding:
    return fail(name, f"the node did not answer a query: {_text(error)}", "look into the node's log")


def _text(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
