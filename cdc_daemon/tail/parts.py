"""The tail of this node's log, put together from the configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cdc_daemon.cassandra.node import NodeSettings
from cdc_daemon.config import Settings
from cdc_daemon.pipeline.signal import TableName
from cdc_daemon.segments.keyring import configured_keyring
from cdc_daemon.store import Store
from cdc_daemon.tail.absent import NoTail
from cdc_daemon.tail.options import TailOptions
from cdc_daemon.tail.ports import SchemaProvider, SignalSink, TailObserver
from cdc_daemon.tail.tail import Tail


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
) -> Tail | NoTail:
    """Return what follows the log for the tables of `mapped`, or what stands for it where no log is to be followed."""
    if not settings.tail:
        return NoTail()
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
