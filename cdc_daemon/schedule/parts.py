"""What comes round, put into the schedule: pollers and the heartbeat."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from functools import partial

from cassandra.cluster import Session

from cdc_daemon.config import Settings
from cdc_daemon.heartbeat import Heart
from cdc_daemon.metrics import Metrics
from cdc_daemon.pipeline.signal import TableName
from cdc_daemon.poll.making import PollerMaker, check_polled_tables
from cdc_daemon.schedule.schedule import Schedule
from cdc_daemon.startup import persist


async def fill_schedule(
    schedule: Schedule,
    settings: Settings,
    *,
    shown: Sequence[TableName],
    makers: PollerMaker,
    session: Session,
    metrics: Metrics,
) -> None:
    """Put pollers and the heartbeat into the schedule, waiting for what they need. Raises `ConfigError`."""
    check_polled_tables(settings.poll, shown)
    for polled in settings.poll:
        poller = await persist("cassandra", partial(makers.make, polled))
        schedule.every(polled.every, f"poll {polled.table}", poller.poll, jitter=polled.every / 10)
    if settings.heartbeat.table is not None:
        heart = Heart(session, settings.cassandra, settings.heartbeat.table, name=socket.gethostname(), metrics=metrics)
        schedule.every(settings.heartbeat.every, "heartbeat", heart.beat)
