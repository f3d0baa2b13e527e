"""Builds the tail of this node's log from the configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cassandra.cluster import Session

from cdc_daemon.app.schedule import Schedule
from cdc_daemon.cassandra.node import NodeSettings, find_node
from cdc_daemon.cassandra.ownership import Ownership
from cdc_daemon.config import Settings
from cdc_daemon.model.signal import TableName
from cdc_daemon.sources.log import ownership
from cdc_daemon.sources.log.keyring import configured_keyring
from cdc_daemon.sources.log.ownership import OwnershipFilter
from cdc_daemon.sources.log.ports import ReconcileRequestStore, SchemaProvider, SignalSink, TailObserver, TailOptions
from cdc_daemon.sources.log.tail import DisabledTail, Tail
from cdc_daemon.store import Store


def filter_by_ownership(
    settings: Settings,
    session: Session,
    sink: SignalSink,
    *,
    schedule: Schedule,
    requests: ReconcileRequestStore,
    left: Callable[[int], None],
    taken_over: Callable[[int], None],
) -> SignalSink:
    """Return a sink that drops signals owned by other nodes, or `sink` itself if the daemon acts on all signals."""
    if not settings.tail or settings.commit_log.ownership == "all":
        return sink
    heartbeat = settings.heartbeat.table
    owned = OwnershipFilter(
        sink,
        Ownership(session, lambda: find_node(session, settings.cassandra.contact_points)),
        requests=requests,
        everywhere=() if heartbeat is None else (heartbeat,),
        left=left,
        taken_over=taken_over,
    )
    schedule.every(ownership.INTERVAL, "ownership", owned.take_over, rests=True)
    return owned


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
        ),
        observer=observer,
        beat=beat,
        keyring=configured_keyring(log),
    )
