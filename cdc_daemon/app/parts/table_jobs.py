"""Builds the parts of jobs on whole tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from cassandra.cluster import Session

from cdc_daemon.app.schedule import Schedule
from cdc_daemon.cassandra.commit_log_settings import compressor, is_encrypted
from cdc_daemon.cassandra.node import NodeSettings, find_node
from cdc_daemon.cassandra.paging import SMALLEST_PAGE
from cdc_daemon.cassandra.ring import WHOLE_RING, Ring, TokenRange
from cdc_daemon.cassandra.scan import RowSizes, TokenScan
from cdc_daemon.cassandra.schema import SchemaSource
from cdc_daemon.config import Settings
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.clock import HybridClock
from cdc_daemon.model.key import Key
from cdc_daemon.model.signal import TableName
from cdc_daemon.pipeline.pipeline import Pipeline
from cdc_daemon.pipeline.ports import DocumentBuilder
from cdc_daemon.pipeline.troubled import Troubled
from cdc_daemon.search.engine import SearchEngine
from cdc_daemon.search.indices import IndexDefinition
from cdc_daemon.search.swap_steps import SwapSteps
from cdc_daemon.search.swap_writer import SwapWriter
from cdc_daemon.sources.schema_changes.mappings import FollowingReader
from cdc_daemon.store.range_jobs import RangeJobs
from cdc_daemon.store.reconcile_requests import ReconcileRequests
from cdc_daemon.tablejobs.backfill import Backfill
from cdc_daemon.tablejobs.confirmation import LogBarrier, TailProgress
from cdc_daemon.tablejobs.healing import CHECK_INTERVAL, Audit, Healing
from cdc_daemon.tablejobs.new_index import NewIndex
from cdc_daemon.tablejobs.range_job import JobRun
from cdc_daemon.tablejobs.reconcile import ComparedMapping, Reconcile
from cdc_daemon.tablejobs.runner import JobWork, RangeJobRunner

_MARKER_PAUSE = 0.5
"""Seconds until a write is readable in a plain segment, which gets markers every 0.1 s."""

_DEFAULT_SYNC_PERIOD = 10.0
"""Seconds (`Config.commitlog_sync_period` as cassandra.yaml ships it)."""

_OTHER_NODES = 5.0
"""Seconds for other nodes' daemons to show writes that are not in this node's log, in rings of several nodes: they find
a write in their logs, read its row and write its document. If that takes longer, a difference is checked again."""

_FIRST_AUDIT = 3600.0
"""Latest start of the first audit, in seconds after the daemon's start."""


@dataclass(frozen=True, kw_only=True)
class JobParts:
    """Dependencies of jobs on whole tables."""

    session: Session
    schema: SchemaSource
    store: RangeJobs
    pipeline: Pipeline
    client: SearchEngine
    reader: FollowingReader
    clock: HybridClock
    builder: DocumentBuilder
    writer: SwapWriter
    changes: SwapSteps
    definitions: Callable[[str], IndexDefinition]
    """Returns the index definition of an object type."""

    is_dead: Callable[[Key, str], bool]
    """Returns whether the document of a key under an alias is a dead letter."""

    tail: TailProgress
    node: NodeSettings
    mappings: Mapping[TableName, Sequence[DocumentMapping]]
    settings: Settings
    requests: ReconcileRequests
    schedule: Schedule
    told: Callable[[str, Mapping[str, int]], None]
    """Called with an object type and its number of differing documents by kind."""
    troubled: Troubled
    """The aliases that currently accept no writes."""
    held: Collection[TableName] = ()
    """Tables with mappings that currently do not fit them."""


def make_runner(parts: JobParts) -> RangeJobRunner:
    """Create the runner of jobs for these mappings."""
    settings = parts.settings.jobs
    named = {mapping.name: mapping for several in parts.mappings.values() for mapping in several}
    tables = {name: TableName(mapping.table.keyspace, mapping.table.name) for name, mapping in named.items()}

    aliases = {name: mapping.alias for name, mapping in named.items()}
    ring = Ring(parts.session)

    sizes = RowSizes()

    def scan(run: JobRun) -> TokenScan:
        # Small enough that a page waits only briefly at any rate: rows that were read long ago are read again.
        most = settings.page_rows if run.request.rate is None else int(run.request.rate / settings.ranges_at_once / 2)
        return TokenScan(
            parts.session,
            parts.schema,
            clock=parts.clock,
            page_rows=max(SMALLEST_PAGE, min(settings.page_rows, most)),
            pace=run.pace,
            sizes=sizes,
        )

    works: dict[str, JobWork] = {}
    runner = RangeJobRunner(
        parts.store,
        ring,
        works,
        tables,
        rate=settings.rate,
        ranges_at_once=settings.ranges_at_once,
        trouble=lambda name: parts.troubled.of(aliases[name]) if name in aliases else None,
    )
    node = find_node(parts.session, parts.settings.cassandra.contact_points)
    healing = Healing(
        parts.requests,
        runner,
        types=_types_by_table(named),
        ranges=lambda keyspace: ring.replicated_by(keyspace, node),
        held=parts.held,
        possible_rate=min(settings.audit.rate, settings.rate or settings.audit.rate),
    )
    reconcile = Reconcile(
        client=parts.client,
        reader=parts.reader,
        builder=parts.builder,
        scan=scan,
        barrier=LogBarrier(parts.tail, parts.pipeline, pause=passing_pause(parts)),
        sink=parts.pipeline,
        writer=parts.writer,
        compared={name: ComparedMapping(mapping, parts.settings.mappings[name]) for name, mapping in named.items()},
        on_compared=parts.told,
        on_done=healing.close_requests,
    )
    works |= {
        "backfill": NewIndex(
            Backfill(parts.pipeline, scan, parts.reader, tables, aliases),
            reconcile,
            parts.changes,
            definitions=parts.definitions,
            is_dead=parts.is_dead,
            refused=parts.writer.refused,
        ),
        "reconcile": reconcile,
    }
    if settings.heal:
        parts.schedule.every(CHECK_INTERVAL, "heal", healing.check)
    audit = settings.audit
    if audit.every:
        by_keyspace: dict[str, list[str]] = defaultdict(list)
        for name, table in tables.items():
            by_keyspace[table.keyspace].append(name)

        def compared(keyspace: str) -> Sequence[TokenRange]:
            # Without a tail a daemon is no node's sidecar: it may be the only one.
            return ring.primary_of(keyspace, node) if parts.settings.tail else [WHOLE_RING]

        begin = Audit(runner, audit, by_keyspace, ranges=compared).begin
        first = min(audit.every, _FIRST_AUDIT)
        parts.schedule.every(audit.every, "audit", begin, first=first, jitter=first / 10)
    return runner


def _types_by_table(named: Mapping[str, DocumentMapping]) -> Mapping[TableName, Sequence[str]]:
    """Return, by table, the object types with documents that show its rows, directly or joined."""
    found: dict[TableName, list[str]] = defaultdict(list)
    for name, mapping in named.items():
        for table in {TableName(mapping.table.keyspace, mapping.table.name), *mapping.related.tables}:
            found[table].append(name)
    return found


def passing_pause(parts: JobParts) -> float:
    """Return the maximum seconds from a write's acknowledgement until it is readable in the log, or polled."""
    others = _OTHER_NODES if len(parts.session.cluster.metadata.all_hosts()) > 1 else 0.0
    if not parts.settings.tail:
        return others + max((polled.every + polled.lag for polled in parts.settings.poll), default=0.0)
    node = parts.node
    plain = node.text("cdc_enabled") is not None and compressor(node) is None and not is_encrypted(node)
    if plain and parts.settings.commit_log.follow_markers:
        return others + _MARKER_PAUSE
    return others + (node.seconds("commitlog_sync_period") or _DEFAULT_SYNC_PERIOD) + _MARKER_PAUSE
