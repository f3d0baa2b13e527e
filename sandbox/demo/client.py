"""One request to Cassandra from asyncio, with the moment at which it was acknowledged."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from cassandra.cluster import Session


async def write(session: Session, statement: Any, values: Any = None) -> float:
    """Run a statement; return the moment its acknowledgement came in (`time.monotonic()`, in seconds).

    The moment is taken in the driver's thread, so that a busy event loop does not make writes seem later and
    documents fresher than they were. Raises what the driver raises.
    """
    loop = asyncio.get_running_loop()
    acknowledged: asyncio.Future[float] = loop.create_future()

    def settle(moment: float, error: BaseException | None) -> None:
        if acknowledged.done():
            return
        if error is None:
            acknowledged.set_result(moment)
        else:
            acknowledged.set_exception(error)

    session.execute_async(statement, values).add_callbacks(
        lambda _rows: loop.call_soon_threadsafe(settle, time.monotonic(), None),
        lambda error: loop.call_soon_threadsafe(settle, 0.0, error),
    )
    return await acknowledged
