"""The running parts of a daemon, with their status."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from cassandra.cluster import Session

from cdc_daemon.app.schedule import Schedule
from cdc_daemon.cassandra.availability import CassandraAvailability
from cdc_daemon.model.signal import TableName
from cdc_daemon.pipeline.gate import Gate
from cdc_daemon.pipeline.metrics import FlowMetrics
from cdc_daemon.pipeline.pipeline import Pipeline
from cdc_daemon.search.metrics import AliasMetrics
from cdc_daemon.search.swap_watch import SwapWatch
from cdc_daemon.search.swap_writer import SwapWriter
from cdc_daemon.sources.dead_letters.replay import Replayer
from cdc_daemon.sources.log.quarantine import Quarantine
from cdc_daemon.sources.log.tail import DisabledTail, Tail
from cdc_daemon.sources.requests import SyncService
from cdc_daemon.sources.requests.jobs import SyncJobRunner
from cdc_daemon.sources.schema_changes.primary_keys import PrimaryKeyWatch
from cdc_daemon.sources.schema_changes.suspended_mappings import SuspendedMapping
from cdc_daemon.sources.spool.spooler import Spooler
from cdc_daemon.store.expiries import ExpiryStore
from cdc_daemon.store.reconcile_requests import ReconcileRequests
from cdc_daemon.tablejobs.index_admin import IndexAdmin
from cdc_daemon.tablejobs.runner import RangeJobRunner
from cdc_daemon.telemetry.metrics import Metrics

Background = Mapping[str, Callable[[], Coroutine[Any, Any, None]]]
"""Coroutines that run beside the tail until the stop, by task name. Each ends only by cancellation."""

REKEYED_SECONDS = 2.0
"""Drain timeout after a table's primary key has changed: its in-flight changes can never complete."""


class Assembly:
    """The running parts of a daemon."""

    def __init__(
        self,
        *,
        tables: Sequence[TableName],
        session: Session,
        cassandra: CassandraAvailability,
        pipeline: Pipeline,
        tail: Tail | DisabledTail,
        writer: SwapWriter,
        metrics: Metrics,
        watching: asyncio.Task[None],
        quarantine: Quarantine,
        gate: Gate,
        keys: PrimaryKeyWatch,
        held: Sequence[SuspendedMapping],
        sync: SyncService,
        jobs: SyncJobRunner,
        range_jobs: RangeJobRunner,
        indices: IndexAdmin,
        pairs: SwapWatch,
        schedule: Schedule,
        reconcile_requests: ReconcileRequests,
        replayer: Replayer,
        spooler: Spooler,
        expiries: ExpiryStore,
        waiting_dependents: Callable[[], int],
        suspect_documents: Callable[[], int],
        background: Background,
    ) -> None:
        self.tables = tables
        self.gate = gate
        self.sync = sync
        self.jobs = jobs
        self.range_jobs = range_jobs
        self.indices = indices
        self._pairs = pairs
        self.schedule = schedule
        self.replayer = replayer
        self._keys = keys
        self._held = held
        self._background = {
            "cassandra": cassandra.run,
            "pipeline": pipeline.run,
            "jobs": jobs.run,
            "range-jobs": range_jobs.run,
            "schedule": schedule.run,
            "spool": spooler.run,
            **background,
        }
        self._session = session
        self._cassandra = cassandra
        self._spooler = spooler
        self._expiries = expiries
        self._waiting_dependents = waiting_dependents
        self._suspect_documents = suspect_documents
        self._pipeline = pipeline
        self._tail = tail
        self._writer = writer
        self._metrics = metrics
        self._flow = FlowMetrics(metrics)
        self._aliases = AliasMetrics(metrics, pairs.last)
        self._watching = watching
        self._quarantine = quarantine
        self._reconcile_requests = reconcile_requests

    async def run(self) -> bool:
        """Run until `drain` has ended the tail, or until cancelled; return whether the parts must be assembled again.

        Raises the error of a part that ends unexpectedly.
        """
        rekeyed = False

        async def end() -> None:
            nonlocal rekeyed
            await self._keys.wait_changed()
            # A start waits for Elasticsearch and does not spool during the wait.
            await self._writer.wait_available()
            rekeyed = True
            await self.drain(REKEYED_SECONDS)

        async with asyncio.TaskGroup() as tasks:
            ending = tasks.create_task(end(), name="end")
            schema = tasks.create_task(_outcome(self._watching), name="schema-outcome")
            running = [tasks.create_task(run(), name=name) for name, run in self._background.items()]
            await self._tail.run()
            self.sync.stop()
            for task in (schema, ending, *running):
                task.cancel()
        return rekeyed

    async def drain(self, seconds: float) -> None:
        """Stop accepting changes, wait at most `seconds` for those in flight, then save the checkpoint."""
        self.sync.stop()
        await self._tail.stop(seconds, held=self.gate.closed)

    def measure(self) -> None:
        """Update the gauges."""
        backlog = self._tail.backlog()
        self._metrics.backlog_bytes.set(backlog.size)
        self._metrics.backlog_segments.set(backlog.segments)
        oldest = 0.0 if backlog.oldest is None else backlog.oldest.modified
        self._metrics.oldest_unacknowledged_segment_timestamp_seconds.set(oldest)
        self._metrics.pending.set(self._pipeline.pending)
        self._metrics.spooled_keys.set(self._spooler.waiting)
        self._metrics.expiries_waiting.set(self._expiries.count)
        self._metrics.dependents_waiting.set(self._waiting_dependents())
        self._metrics.suspect_documents.set(self._suspect_documents())
        self._flow.show(self._pipeline.flow)
        self._metrics.cassandra_available.set(bool(self._cassandra))
        self._metrics.elasticsearch_available.set(self._writer.available)
        troubles = self._writer.troubles()
        self._aliases.show({alias: trouble.failure.label for alias, trouble in troubles.items()})
        self._metrics.paused.set(self.gate.closed)
        for job in self.schedule.jobs.values():
            self._metrics.scheduled_work_failing.labels(job.name).set(job.error is not None)
        for reason, count in self._reconcile_requests.counts.items():
            self._metrics.reconcile_requests.labels(reason.value).set(count)
        with suppress(OSError):
            self._metrics.quarantined_segments.set(len(self._quarantine.segments()))

    def status(self) -> Mapping[str, Any]:
        """Return the status of all parts in plain values."""
        backlog = self._tail.backlog()
        pause = self.gate.pause
        hosts = self._session.cluster.metadata.all_hosts()
        troubles = self._writer.troubles()
        up = sum(host.is_up is not False for host in hosts)
        return {
            "tables": [str(table) for table in self.tables],
            "tail": not isinstance(self._tail, DisabledTail),
            "position": str(self._tail.position),
            "pending": self._pipeline.pending,
            "spooled": self._spooler.waiting,
            "dependents_waiting": self._waiting_dependents(),
            "suspect_documents": self._suspect_documents(),
            "paused": self.gate.closed,
            "paused_by": None if pause is None else pause.by,
            "paused_since": None if pause is None else pause.since,
            "held": [{**asdict(each), "table": str(each.table)} for each in self._held],
            "backlog": {"bytes": backlog.size, "segments": backlog.segments},
            "reconcile_requests": {
                reason.value: count for reason, count in self._reconcile_requests.counts.items() if count
            },
            "cassandra": {
                "available": bool(self._cassandra),
                "failure": self._cassandra.failure,
                "nodes": len(hosts),
                "nodes_up": up,
            },
            "elasticsearch": {
                "available": self._writer.available,
                "failure": None if self._writer.failure is None else self._writer.failure.error_type,
            },
            "indices": [
                {**pair.plain(), "trouble": None if (trouble := troubles.get(alias)) is None else trouble.plain()}
                for alias, pair in self._pairs.last.items()
            ],
            "jobs": self.range_jobs.status(),
            "schedule": [
                {**asdict(job), "next": self.schedule.next_run(name)} for name, job in self.schedule.jobs.items()
            ],
        }


async def _outcome(task: asyncio.Task[None]) -> None:
    """Wait for a task without cancelling it; raise its error."""
    await asyncio.shield(task)
