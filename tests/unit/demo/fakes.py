"""Stand-ins for Cassandra's session and for HTTP servers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from cassandra import OperationTimedOut


class FakeFuture:
    """Answers from another thread, as the driver does."""

    def __init__(self, error: Exception | None) -> None:
        self._error = error

    def add_callbacks(self, callback: Callable[[Any], None], errback: Callable[[Any], None]) -> None:
        error = self._error
        thread = threading.Thread(target=callback if error is None else errback, args=[error])
        thread.start()


class FakeSession:
    """Takes every statement; `fail` makes it acknowledge none."""

    def __init__(self) -> None:
        self.executed: list[tuple[Any, Any]] = []
        self.fail = False

    def prepare(self, cql: str) -> Any:
        return cql

    def execute_async(self, statement: Any, values: Any = None) -> FakeFuture:
        self.executed.append((statement, values))
        return FakeFuture(OperationTimedOut() if self.fail else None)


async def wait_until(condition: Callable[[], object]) -> None:
    """Wait until the condition holds; it has ten seconds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.002)


@asynccontextmanager
async def serving(answer: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[str]:
    """Serve every request by `answer`; give the URL."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")
