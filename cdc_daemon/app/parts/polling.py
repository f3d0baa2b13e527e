"""Fills the schedule with its tasks: pollers, removals, dependents, dead letters and the heartbeat."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from cassandra.cluster import Session

from cdc_daemon.app.schedule import Schedule
from cdc_daemon.app.startup import persist
from cdc_daemon.config import Settings
from cdc_daemon.model.signal import TableName
from cdc_daemon.sources.dead_letters import retries
from cdc_daemon.sources.dead_letters.retries import DeadLetterRetries
from cdc_daemon.sources.dependents import refresher as dependents
from cdc_daemon.sources.dependents.refresher import DependentsRefresher
from cdc_daemon.sources.heartbeat import HeartbeatWriter
from cdc_daemon.sources.late_requests import watch as suspects
from cdc_daemon.sources.late_requests.watch import SuspectWatch
from cdc_daemon.sources.poll.factory import PollerFactory, check_polled_tables
from cdc_daemon.sources.unlogged_removals import expiry, table_watch
from cdc_daemon.sources.unlogged_removals.expiry import ExpiryWatch
from cdc_daemon.sources.unlogged_removals.table_watch import TableWatch
from cdc_daemon.telemetry.metrics import Metrics


class Turns(NamedTuple):
    """Tasks that check periodically for work."""

    dependents: DependentsRefresher
    tables: TableWatch
    expiries: ExpiryWatch
    retries: DeadLetterRetries
    suspects: SuspectWatch


async def fill_schedule(
    schedule: Schedule,
    settings: Settings,
    *,
    shown: Sequence[TableName],
    makers: PollerFactory,
    session: Session,
    metrics: Metrics,
    turns: Turns,
) -> None:
    """Add all tasks to the schedule, waiting until pollers can start. Raises `ConfigError`."""
    schedule.every(dependents.INTERVAL, "dependents", turns.dependents.turn, rests=True)
    schedule.every(table_watch.INTERVAL, "truncated tables", turns.tables.turn, rests=True)
    schedule.every(expiry.INTERVAL, "expired values", turns.expiries.turn, rests=True)
    schedule.every(suspects.INTERVAL, "late requests", turns.suspects.turn, rests=True)
    if (pause := settings.dead_letters.retry_every) > 0:
        looked_every = min(retries.INTERVAL, pause)
        schedule.every(looked_every, "dead letters", turns.retries.turn, first=looked_every, rests=True)
    check_polled_tables(settings.poll, shown)
    for polled in settings.poll:
        poller = await persist("cassandra", partial(makers.make, polled))
        schedule.every(polled.every, f"poll {polled.table}", poller.poll, jitter=polled.every / 10)
    if settings.heartbeat.table is not None:
        heart = HeartbeatWriter(
            session, settings.cassandra, settings.heartbeat.table, name=socket.gethostname(), metrics=metrics
        )
        schedule.every(settings.heartbeat.every, "heartbeat", heart.beat)
