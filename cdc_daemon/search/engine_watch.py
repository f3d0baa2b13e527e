"""Notices that another engine or release answers, even if no request fails: a rolling upgrade behind a proxy."""

from __future__ import annotations

import asyncio

import structlog

from cdc_daemon.search.engine import SearchEngine
from cdc_daemon.search.failure import EngineError, UnsupportedEngineError

log = structlog.get_logger(__name__)

ASK_INTERVAL = 30.0
"""Seconds between two questions which engine answers."""


async def watch_engine(engine: SearchEngine, interval: float = ASK_INTERVAL) -> None:
    """Ask regularly which engine answers, until cancelled. The engine logs a change."""
    while True:
        await asyncio.sleep(interval)
        try:
            await engine.identify()
        except UnsupportedEngineError as error:
            log.warning("search.engine_unsupported", error=error.failure.reason, hint=error.hint, every=300)
        except EngineError as error:
            # The writes that wait for the engine report that it does not answer.
            log.debug("search.engine_unknown", error=error.message)
