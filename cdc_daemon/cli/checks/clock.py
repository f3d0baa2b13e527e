"""The check that compares this machine's clock with those of the servers."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from time import time

from cassandra.cluster import Session

from cdc_daemon.app.startup import connect_elasticsearch
from cdc_daemon.cassandra.clock import measure_lead
from cdc_daemon.cli.checks.finding import Finding, ok, warn
from cdc_daemon.config import Settings
from cdc_daemon.model.errors import CdcError
from cdc_daemon.search.failure import EngineError

_FIX = "correct the clock that is wrong (NTP): documents are ordered by the clocks of the daemons' machines"


async def check_clock(session: Session, settings: Settings) -> Finding:
    """Compare the clock with those of Cassandra's nodes and of the search engine."""
    leads = await measure_lead(session)
    async with AsyncExitStack() as stack:
        with suppress(CdcError, EngineError):  # other checks report it
            engine = connect_elasticsearch(settings.elasticsearch)
            stack.push_async_callback(engine.close)
            await engine.identify()
            began = time()
            if (theirs := await engine.time()) is not None:
                leads.append((began + time()) / 2 - theirs)
    return judge_clock(leads, settings.elasticsearch.allowed_clock_difference)


def judge_clock(leads: Sequence[float], allowed: float) -> Finding:
    """Judge by how many seconds this machine's clock is ahead of the servers' clocks."""
    if not leads:
        return warn("clock", "no server has returned its time, so this machine's clock could not be compared", _FIX)
    ahead = statistics.median(leads)
    found = f"this machine's clock is {abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} the servers' clocks"
    if abs(ahead) > allowed:
        return warn("clock", f"{found}; elasticsearch.allowed_clock_difference is {allowed:g} s", _FIX)
    if max(leads) - min(leads) > allowed:
        return warn("clock", f"{found}, but their clocks differ by {max(leads) - min(leads):.1f} s", _FIX)
    return ok("clock", found)
