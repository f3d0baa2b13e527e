"""The part that retries dead letters, and replays them for operators."""

from __future__ import annotations

from cdc_daemon.app.part import Context, Part
from cdc_daemon.app.parts.cassandra import CassandraPart
from cdc_daemon.app.parts.pipeline import PipelinePart
from cdc_daemon.app.parts.removals import make_reconcile_request
from cdc_daemon.app.parts.search import SearchPart
from cdc_daemon.app.parts.tables import TablesPart
from cdc_daemon.sources.dead_letters.replay import Replayer
from cdc_daemon.sources.dead_letters.retries import INTERVAL, DeadLetterRetries


class DeadLettersPart(Part):
    """Retries dead letters while both servers are available and nobody has paused the daemon.

    The daemon counts the letters in its store, also while no part runs.
    """

    name = "dead-letters"

    def __init__(
        self,
        context: Context,
        cassandra: CassandraPart,
        tables: TablesPart,
        search: SearchPart,
        pipeline: PipelinePart,
    ) -> None:
        letters = context.store.dead_letters
        self.replayer = Replayer(
            pipeline.pipeline,
            letters,
            schema=cassandra.schema,
            shown=frozenset(tables.shown),
            unreadable=cassandra.availability.wait_lost,
            reconcile=make_reconcile_request(tables.mappings, context.store),
        )
        if (pause := tables.settings.dead_letters.retry_every) > 0:
            retries = DeadLetterRetries(
                letters,
                self.replayer,
                pause=pause,
                ready=lambda: bool(cassandra.availability) and search.writer.available and not pipeline.gate.closed,
            )
            every = min(INTERVAL, pause)
            context.schedule.every(every, "dead letters", retries.turn, first=every, rests=True)
