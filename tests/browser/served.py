"""A daemon without servers behind its real HTTP surface, for what a page shows of states that servers seldom have."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Coroutine
from typing import Any, Self, TypeVar

from cdc_daemon.config import AuthSettings, HttpSettings, TokenSettings
from cdc_daemon.tablejobs.range_job import JobRequest
from cdc_daemon.tablejobs.runner import RangeJobReport
from cdc_http import HttpServer, StatusStream, create_app
from sandbox.ports import PortReservation
from tests.browser.conftest import TOKEN
from tests.browser.scenes import Scene
from tests.unit.http.fake import FakeDaemon

_SETTINGS = HttpSettings(
    contract="lenient",
    auth=AuthSettings(
        tokens=(
            TokenSettings(
                name="anna", hash=f"sha256:{hashlib.sha256(TOKEN.encode()).hexdigest()}", scopes=("admin", "sync")
            ),
        )
    ),
)

T = TypeVar("T")


class Served:
    """Answers at `url` for the time of a block, in a thread of its own, with what `daemon` is made to tell."""

    def __init__(self, scene: Scene) -> None:
        self.daemon = FakeDaemon()
        self.tell(scene)
        self._ports = PortReservation()
        self._port = self._ports.reserve()
        self.url = f"http://127.0.0.1:{self._port}/"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="served", daemon=True)
        self._running: tuple[HttpServer, StatusStream] | None = None

    def tell(self, scene: Scene) -> None:
        """Replace parts of the status from now on."""
        self.daemon.state, self.daemon.lines = scene

    def order(self, request: JobRequest) -> RangeJobReport:
        """Add a job that is running."""
        assert self.daemon.range_jobs is not None
        return self._do(self.daemon.range_jobs.start(request))

    def start(self) -> None:
        """Answer."""
        self._running = self._do(self._start())

    def stop(self) -> None:
        """Answer no more, as when the process is gone."""
        if self._running is not None:
            self._do(self._stop(*self._running))
            self._running = None

    def __enter__(self) -> Self:
        self._thread.start()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._ports.close()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _start(self) -> tuple[HttpServer, StatusStream]:
        events = StatusStream(self.daemon, pause=0.1)
        server = HttpServer(create_app(self.daemon, _SETTINGS, events=events), host="127.0.0.1", port=self._port)
        await server.start()
        return server, events

    async def _stop(self, server: HttpServer, events: StatusStream) -> None:
        await events.close()
        await server.stop()
