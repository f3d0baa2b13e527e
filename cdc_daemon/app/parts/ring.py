"""The part that divides the changes of the log between the daemons of the ring."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import structlog

from cdc_daemon.app.part import Context, Part
from cdc_daemon.app.parts.cassandra import CassandraPart
from cdc_daemon.app.parts.peers import PeersPart
from cdc_daemon.app.parts.pipeline import PipelinePart
from cdc_daemon.app.parts.search import SearchPart
from cdc_daemon.app.parts.spool import SpoolPart
from cdc_daemon.cassandra.node import find_node
from cdc_daemon.cassandra.ownership import Ownership
from cdc_daemon.sources.ring import expiries
from cdc_daemon.sources.ring.confirmation import Confirmation
from cdc_daemon.sources.ring.division import ChangeDivision
from cdc_daemon.sources.ring.expiries import ExpiryAnswers, LeftExpiryWatch
from cdc_daemon.sources.ring.left import LeftChanges
from cdc_daemon.sources.ring.metrics import DivisionMetrics
from cdc_daemon.sources.ring.owned import QUESTION, OwnedChanges
from cdc_daemon.sources.spool.spooler import CdcSpace

log = structlog.get_logger(__name__)


class RingPart(Part):
    """Leaves changes to their owners' daemons and asks these until they confirm; answers the same questions.

    `division` is None if this daemon writes all changes itself: with `ownership: all`, and without peers to ask.
    """

    name = "ring"

    def __init__(
        self,
        context: Context,
        *,
        cassandra: CassandraPart,
        peers: PeersPart,
        space: CdcSpace,
        search: SearchPart,
        pipeline: PipelinePart,
        spool: SpoolPart,
    ) -> None:
        settings, store = context.settings, context.store
        self.division: ChangeDivision | None = None
        self._left = LeftChanges()
        self._metrics = context.metrics
        self._confirmation: Confirmation | None = None
        observer = DivisionMetrics(context.metrics)  # its counters exist from the start, whoever writes the changes
        context.questions.withdraw(QUESTION)
        context.questions.withdraw(expiries.QUESTION)
        if not settings.tail or settings.commit_log.ownership == "all":
            return
        if not peers.peers.asks:
            log.warning(
                "ring.no_peers",
                hint="this daemon writes all changes in its log, as with ownership: all; set peers.port and "
                "peers.token_file for all daemons of the ring",
            )
            return
        owned = OwnedChanges(state_id=store.state_id, stores=lambda: bool(spool.waiting or store.dependents.count))
        contact_points, heartbeat = settings.cassandra.contact_points, settings.heartbeat.table
        self.division = ChangeDivision(
            Ownership(cassandra.session, lambda: find_node(cassandra.session, contact_points)),
            owned=owned,
            left=self._left,
            observer=observer,
            everywhere=() if heartbeat is None else (heartbeat,),
            filling=lambda: space.filling,
        )
        watch = LeftExpiryWatch(store, peers=peers.peers, sink=pipeline.coalescer, gate=pipeline.gate)
        self._confirmation = Confirmation(
            self._left,
            owned=owned,
            peers=peers.peers,
            sink=pipeline.gate,
            observer=observer,
            keep_expiries=watch.keep,
            ready=lambda: search.writer.available and bool(cassandra.availability),
            filling=lambda: space.filling,
        )
        context.questions.register(QUESTION, owned.answer)
        context.questions.register(expiries.QUESTION, ExpiryAnswers(store).answer)
        context.schedule.every(expiries.INTERVAL, "others' expired values", watch.turn, rests=True)

    async def run(self) -> None:
        """Ask the owners, and write what they do not confirm, until cancelled."""
        if self._confirmation is None:
            await asyncio.Event().wait()
        else:
            await self._confirmation.run()

    def status(self) -> Mapping[str, Any]:
        """Return how many changes other daemons have not confirmed yet, and which daemons do not answer."""
        if self._confirmation is None:
            return {"ring": None}
        return {
            "ring": {
                "unconfirmed": len(self._left),
                "oldest_unconfirmed_seconds": round(self._confirmation.age, 1),
                "silent": sorted(self._confirmation.gone),
            }
        }

    def measure(self) -> None:
        """Update the gauges of unconfirmed changes and of silent daemons."""
        confirmation = self._confirmation
        self._metrics.changes_unconfirmed.set(len(self._left))
        age = 0.0 if confirmation is None else confirmation.age
        self._metrics.oldest_unconfirmed_timestamp_seconds.set(time.time() - age if age else 0.0)
        self._metrics.peers_silent.set(0 if confirmation is None else len(confirmation.gone))
