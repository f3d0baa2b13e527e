"""The part that runs jobs on whole tables: backfill, reconcile, new index, healing, audit, delete passes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from cdc_daemon.app.part import Context, Part
from cdc_daemon.app.parts.cassandra import CassandraPart
from cdc_daemon.app.parts.index_preparation import index_definition
from cdc_daemon.app.parts.log import LogPart
from cdc_daemon.app.parts.pipeline import PipelinePart
from cdc_daemon.app.parts.search import SearchPart
from cdc_daemon.app.parts.share import SharePart
from cdc_daemon.app.parts.tables import TablesPart, make_mapping
from cdc_daemon.app.schedule import Schedule
from cdc_daemon.cassandra.node import compressor, find_node, is_encrypted
from cdc_daemon.cassandra.paging import SMALLEST_PAGE
from cdc_daemon.cassandra.ring import WHOLE_RING, Ring, TokenRange
from cdc_daemon.cassandra.scan import RowSizes, TokenScan
from cdc_daemon.config import Settings
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.signal import TableName
from cdc_daemon.search.indices import IndexDefinition
from cdc_daemon.tablejobs import deletes, first_copy
from cdc_daemon.tablejobs.backfill import Backfill
from cdc_daemon.tablejobs.catch_up import CatchUp, ChangeTimes
from cdc_daemon.tablejobs.confirmation import LogBarrier
from cdc_daemon.tablejobs.delete_pass import DeletePass, NoBarrier
from cdc_daemon.tablejobs.deletes import DeletePasses, DeletesPlan
from cdc_daemon.tablejobs.estimate import BackfillEstimator
from cdc_daemon.tablejobs.first_copy import FirstCopier
from cdc_daemon.tablejobs.healing import CHECK_INTERVAL, Audit, Healing
from cdc_daemon.tablejobs.index_admin import IndexAdmin
from cdc_daemon.tablejobs.metrics import DeletesMetrics, DriftMetrics
from cdc_daemon.tablejobs.new_index import NewIndex
from cdc_daemon.tablejobs.range_job import JobRun
from cdc_daemon.tablejobs.reconcile import Reconcile
from cdc_daemon.tablejobs.runner import JobWork, RangeJobRunner
from cdc_daemon.tablejobs.surplus import ComparedMapping, ComparisonTargets

_MARKER_PAUSE = 0.5
"""Seconds until a write is readable in a plain segment, which gets markers every 0.1 s."""

_DEFAULT_SYNC_PERIOD = 10.0
"""Seconds (`Config.commitlog_sync_period` as cassandra.yaml ships it)."""

_OTHER_NODES = 5.0
"""Seconds for other nodes' daemons to show writes that are not in this node's log, in rings of several nodes: they find
a write in their logs, read its row and write its document. If that takes longer, a difference is checked again."""

_FIRST_AUDIT = 3600.0
"""Latest start of the first audit, in seconds after the daemon's start."""


class TableJobsPart(Part):
    """Jobs on whole tables: `runner` runs them, `indices` shows and switches the indices that they build.

    `estimator` says how long a backfill would take.
    """

    name = "range-jobs"

    def __init__(
        self,
        context: Context,
        cassandra: CassandraPart,
        tables: TablesPart,
        search: SearchPart,
        pipeline: PipelinePart,
        *,
        log: LogPart,
        share: SharePart,
    ) -> None:
        self._cassandra = cassandra
        self._tables = tables
        self._pipeline = pipeline
        self._metrics = context.metrics
        self._requests = context.store.reconcile_requests
        settings = tables.settings.jobs
        named = {mapping.name: mapping for mapping in tables.listed}
        aliases = {name: mapping.alias for name, mapping in named.items()}
        table_names = {name: TableName(mapping.table.keyspace, mapping.table.name) for name, mapping in named.items()}
        self._ring = Ring(cassandra.session)
        # Looked up at each use: the node's address may change while the daemon runs.
        self._node = partial(find_node, cassandra.session, tables.settings.cassandra.contact_points)
        self._sizes = RowSizes()
        works: dict[str, JobWork] = {}
        catch_up = CatchUp(
            sink=pipeline.coalescer,
            scan=self._scan,
            times=ChangeTimes(cassandra.schema.plan, tables.settings.poll),
            tables=table_names,
            aliases=aliases,
        )
        self.runner = RangeJobRunner(
            context.store.range_jobs,
            self._ring,
            works,
            table_names,
            rate=settings.rate,
            ranges_at_once=settings.ranges_at_once,
            trouble=lambda name: search.troubled.of(aliases[name]) if name in aliases else None,
            check=catch_up.check,
        )
        healing = Healing(
            self._requests,
            self.runner,
            types=_types_by_table(named),
            ranges=lambda keyspace: self._ring.replicated_by(keyspace, self._node()),
            suspended=tables.suspended_tables,
            rate=min(settings.heal_rate, settings.rate or settings.heal_rate),
            possible_rate=min(settings.audit.rate, settings.rate or settings.audit.rate),
        )
        plans = _deletes_plans(tables.settings, table_names)
        self._deletes_metrics = DeletesMetrics(context.metrics)
        self._deletes = DeletePasses(
            self.runner,
            context.store.range_jobs,
            plans,
            on_removed=self._deletes_metrics.removed,
            shared=share.passes,
        )
        compared = {name: ComparedMapping(each, tables.settings.mappings[name]) for name, each in named.items()}
        targets = partial(
            ComparisonTargets,
            engine=search.engine,
            reader=pipeline.reader,
            updater=pipeline.follower,
            builder=pipeline.documents,
            sink=pipeline.coalescer,
            writer=search.writer,
            clock=search.clock,
            note_expiries=context.store.expiries.note,
        )
        barrier = LogBarrier(log.tail, pipeline.coalescer, pause=_log_pause(tables.settings, cassandra))
        reconcile = Reconcile(
            targets(barrier=barrier),
            scan=self._scan,
            compared=compared,
            on_compared=DriftMetrics(context.metrics).set_drift,
            on_done=healing.close_requests,
        )
        new_index = NewIndex(
            Backfill(
                sink=pipeline.coalescer,
                scan=self._scan,
                reader=pipeline.reader,
                updater=pipeline.follower,
                tables=table_names,
                aliases=aliases,
            ),
            reconcile,
            search.swap_steps,
            definitions=self._define_index,
            is_dead=pipeline.dead.has,
            refused=search.writer.refused,
        )
        works |= {
            "backfill": new_index,
            "catch_up": catch_up,
            "reconcile": reconcile,
            "deletes": DeletePass(
                targets(barrier=NoBarrier()),
                self._scan,
                compared,
                self._deletes.note_done,
            ),
        }
        if plans:
            context.schedule.every(deletes.CHECK_INTERVAL, "removed rows", self._deletes.check)
        self._first_copies = FirstCopier(context.store.first_copies, self.runner)
        context.schedule.every(first_copy.CHECK_INTERVAL, "first copies", self._first_copies.check)
        if settings.heal:
            context.schedule.every(CHECK_INTERVAL, "heal", healing.check)
        if settings.audit.every:
            self._schedule_audit(context.schedule, table_names, share)
        self.estimator = BackfillEstimator(
            self._ring,
            self._sampling_scan,
            context.store.range_jobs,
            table_names,
            rate=settings.rate,
            ranges_at_once=settings.ranges_at_once,
            plan=new_index.plan,
        )
        self.indices = IndexAdmin(aliases, engine=search.engine, changes=search.swap_steps, jobs=self.runner)

    async def run(self) -> None:
        """Run jobs. Unfinished ones continue at the next start."""
        await self.runner.run()

    def status(self) -> Mapping[str, Any]:
        """Return the jobs that run or wait, the first copies, the open requests by reason, and the delete passes."""
        counts = self._requests.counts
        return {
            "jobs": self.runner.status(),
            "first_copies": self._first_copies.status(),
            "reconcile_requests": {reason.value: count for reason, count in counts.items() if count},
            "deletes": self._deletes.plain_status(),
        }

    def measure(self) -> None:
        """Update the gauges of open requests to compare tables, and of delete passes."""
        self._deletes_metrics.show(self._deletes.status)
        for reason, count in self._requests.counts.items():
            self._metrics.reconcile_requests.labels(reason.value).set(count)

    def _scan(self, run: JobRun) -> TokenScan:
        settings = self._tables.settings.jobs
        # Small enough that a page waits only briefly at any rate: rows that were read long ago are read again.
        most = settings.page_rows if run.request.rate is None else int(run.request.rate / settings.ranges_at_once / 2)
        return TokenScan(
            self._cassandra.session,
            self._cassandra.schema,
            clock=self._pipeline.clock,
            page_rows=max(SMALLEST_PAGE, min(settings.page_rows, most)),
            pace=run.pace,
            sizes=self._sizes,
        )

    def _sampling_scan(self, page_rows: int) -> TokenScan:
        session, schema = self._cassandra.session, self._cassandra.schema
        return TokenScan(session, schema, clock=self._pipeline.clock, page_rows=page_rows, sizes=self._sizes)

    def _define_index(self, object_type: str) -> IndexDefinition:
        declared = self._tables.settings.mappings[object_type]
        return index_definition(declared, make_mapping(object_type, declared, self._cassandra.schema))

    def _schedule_audit(self, schedule: Schedule, table_names: Mapping[str, TableName], share: SharePart) -> None:
        audit = self._tables.settings.jobs.audit
        by_keyspace: dict[str, list[str]] = defaultdict(list)
        for name, table in table_names.items():
            by_keyspace[table.keyspace].append(name)

        def compared(keyspace: str) -> Sequence[TokenRange]:
            # Without a tail a daemon is no node's sidecar: it may be the only one.
            if self._tables.settings.tail:
                return self._ring.primary_of(keyspace, self._node())
            return [WHOLE_RING] if share.audits(keyspace) else []

        begin = Audit(self.runner, audit, by_keyspace, ranges=compared).begin
        first = min(audit.every, _FIRST_AUDIT)
        schedule.every(audit.every, "audit", begin, first=first, jitter=first / 10)


def _types_by_table(named: Mapping[str, DocumentMapping]) -> Mapping[TableName, Sequence[str]]:
    """Return, by table, the object types with documents that show its rows, directly or joined."""
    found: dict[TableName, list[str]] = defaultdict(list)
    for name, mapping in named.items():
        for table in {TableName(mapping.table.keyspace, mapping.table.name), *mapping.related.tables}:
            found[table].append(name)
    return found


def _deletes_plans(settings: Settings, table_names: Mapping[str, TableName]) -> Sequence[DeletesPlan]:
    """Return the polled tables that are searched for removed rows.

    A table whose mappings are suspended has no types.
    """
    return [
        DeletesPlan(
            polled.table,
            tuple(sorted(name for name, table in table_names.items() if table == polled.table)),
            polled.deletes,
        )
        for polled in settings.poll
        if polled.deletes is not None
    ]


def _log_pause(settings: Settings, cassandra: CassandraPart) -> float:
    """Return the maximum seconds from a write's acknowledgement until it is readable in the log, or polled."""
    others = _OTHER_NODES if cassandra.several_nodes else 0.0
    if not settings.tail:
        return others + max((polled.every + polled.lag for polled in settings.poll), default=0.0)
    node = cassandra.node
    plain = node.text("cdc_enabled") is not None and compressor(node) is None and not is_encrypted(node)
    if plain and settings.commit_log.follow_markers:
        return others + _MARKER_PAUSE
    return others + (node.seconds("commitlog_sync_period") or _DEFAULT_SYNC_PERIOD) + _MARKER_PAUSE
