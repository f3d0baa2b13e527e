"""The part that compares this machine's clock with those of the servers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from time import time
from typing import Any

from cdc_daemon.app.part import Context, Part
from cdc_daemon.app.parts.cassandra import CassandraPart
from cdc_daemon.app.parts.search import SearchPart
from cdc_daemon.cassandra.clock import measure_lead
from cdc_daemon.search.engine import SearchEngine
from cdc_daemon.search.failure import EngineError
from cdc_daemon.sources.clock_watch import INTERVAL, ClockWatch


class ClockPart(Part):
    """Notices a wrong clock, and returns versions that are ahead once the clock is right again."""

    name = "clock"

    def __init__(self, context: Context, cassandra: CassandraPart, search: SearchPart) -> None:
        self._metrics = context.metrics
        self._watch = ClockWatch(
            search.clock,
            measures=[partial(measure_lead, cassandra.session), partial(_measure_engine, search.engine)],
            keep=context.store.step_clock_back,
        )
        context.schedule.every(INTERVAL, "clock", self._watch.check, rests=True)

    def status(self) -> Mapping[str, Any]:
        """Return by how much this machine's clock and the versions are ahead."""
        return {"clock": self._watch.plain()}

    def measure(self) -> None:
        """Update the gauges of the clock."""
        state = self._watch.state
        self._metrics.clock_ahead_seconds.set(state.ahead or 0.0)
        self._metrics.versions_ahead_seconds.set(state.versions_ahead)
        self._metrics.untrusted_versions_until_timestamp_seconds.set(state.untrusted_until)


async def _measure_engine(engine: SearchEngine) -> Sequence[float]:
    """Return by how many seconds this machine's clock is ahead of a node's of the search engine, if it says so."""
    began = time()
    try:
        theirs = await engine.time()
    except EngineError:
        return []  # the login may not ask, or the engine is down
    return [] if theirs is None else [(began + time()) / 2 - theirs]
