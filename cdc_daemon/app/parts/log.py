"""The part that follows the commit log of this node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Self

import structlog
from cassandra.cluster import Session

from cdc_daemon.app.part import Context, Part
from cdc_daemon.app.parts.cassandra import CassandraPart
from cdc_daemon.app.parts.pipeline import PipelinePart
from cdc_daemon.app.parts.ring import RingPart
from cdc_daemon.app.parts.tables import TablesPart
from cdc_daemon.cassandra.node import NodeSettings, find_node, wait_refused
from cdc_daemon.config import Settings
from cdc_daemon.model.signal import TableName
from cdc_daemon.pipeline.gate import Gate
from cdc_daemon.sources.log.keyring import configured_keyring
from cdc_daemon.sources.log.metrics import TailMetrics
from cdc_daemon.sources.log.ports import Division, SchemaProvider, SignalSink, TailObserver, TailOptions
from cdc_daemon.sources.log.quarantine import Quarantine
from cdc_daemon.sources.log.tail import DisabledTail, Tail
from cdc_daemon.sources.spool.spooler import CdcSpace
from cdc_daemon.store import Store
from cdc_daemon.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

_DIVIDED_PORTIONS = 16 * TailOptions().open_portions
"""The most open portions if changes are left to others: each portion waits for a confirmation, not only for writes."""


class LogPart(Part):
    """Follows the commit log of this node, if the configuration names one."""

    name = "log"

    def __init__(
        self,
        metrics: Metrics,
        tail: Tail | DisabledTail,
        gate: Gate,
        quarantine: Quarantine,
        *,
        node_gone: Callable[[], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        self.tail = tail
        self._node_gone = node_gone
        self._gate = gate
        self._quarantine = quarantine
        self._metrics = metrics

    @classmethod
    def build(
        cls,
        context: Context,
        *,
        cassandra: CassandraPart,
        space: CdcSpace,
        tables: TablesPart,
        pipeline: PipelinePart,
        ring: RingPart,
    ) -> Self:
        """Build the tail of the log for the tables that documents show."""
        settings, metrics = tables.settings, context.metrics
        tail = make_tail(
            settings,
            context.store,
            node=cassandra.node,
            mapped=tables.shown,
            sink=pipeline.gate,
            schema=cassandra.schema,
            observer=TailMetrics(metrics, space.listed),
            beat=context.beat,
            division=ring.division,
        )
        node_gone = partial(_wait_gone, cassandra.session, settings)
        return cls(metrics, tail, pipeline.gate, Quarantine(settings.state.directory), node_gone=node_gone)

    async def run(self) -> None:
        """Follow the log until the part is drained."""
        await self.tail.run()

    async def drain(self, seconds: float) -> None:
        """Read no more changes, wait for those in flight, then save the checkpoint.

        It does not wait for rows that cannot be read any more because this node of Cassandra was stopped first, as in a
        pod. They are read at the next start.
        """
        hurrying = asyncio.create_task(self._hurry_without_node(), name="node-gone")
        try:
            await self.tail.stop(seconds, held=self._gate.closed)
        finally:
            hurrying.cancel()
            await asyncio.gather(hurrying, return_exceptions=True)

    async def _hurry_without_node(self) -> None:
        if self._node_gone is None:
            return
        await self._node_gone()
        log.info("tail.node_gone", hint="Cassandra was stopped first: unwritten changes are read at the next start")
        self.tail.hurry()

    def status(self) -> Mapping[str, Any]:
        """Return the position in the log, and the segments that are not released yet."""
        backlog = self.tail.backlog()
        return {
            "tail": not isinstance(self.tail, DisabledTail),
            "position": str(self.tail.position),
            "backlog": {"bytes": backlog.size, "segments": backlog.segments},
        }

    def measure(self) -> None:
        """Update the gauges of the backlog, and of damaged segments."""
        backlog = self.tail.backlog()
        self._metrics.backlog_bytes.set(backlog.size)
        self._metrics.backlog_segments.set(backlog.segments)
        oldest = 0.0 if backlog.oldest is None else backlog.oldest.modified
        self._metrics.oldest_unacknowledged_segment_timestamp_seconds.set(oldest)
        with suppress(OSError):
            self._metrics.quarantined_segments.set(len(self._quarantine.segments()))


async def _wait_gone(session: Session, settings: Settings) -> None:
    """Return when this node refuses connections."""
    endpoint = find_node(session, settings.cassandra.contact_points).endpoint
    await wait_refused(endpoint.address, endpoint.port)


def make_tail(
    settings: Settings,
    store: Store,
    *,
    node: NodeSettings,
    mapped: Sequence[TableName],
    sink: SignalSink,
    schema: SchemaProvider,
    observer: TailObserver,
    beat: Callable[[str], None],
    division: Division | None = None,
) -> Tail | DisabledTail:
    """Return the tail of the log for the tables of `mapped`, or a `DisabledTail` if no log is to be followed."""
    if not settings.tail:
        return DisabledTail()
    log = settings.commit_log
    return Tail(
        log.cdc_raw_directory,
        state=settings.state.directory,
        sink=sink,
        schema=schema,
        mapped=mapped,
        checkpoints=store.checkpoints,
        dead_letters=store.dead_letters,
        reconcile_requests=store.reconcile_requests,
        seen=store.seen_segments,
        options=TailOptions(
            follow_markers=log.follow_markers,
            release=log.release,
            may_prune=node.flag("cdc_block_writes") is not True,
            poll_interval=log.poll_interval,
            open_portions=TailOptions().open_portions if division is None else _DIVIDED_PORTIONS,
        ),
        observer=observer,
        beat=beat,
        keyring=configured_keyring(log),
        commitlog=log.commitlog_directory,
        division=division,
    )
