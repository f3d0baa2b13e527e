"""A daemon's HTTP surface for commands that ask one."""

from __future__ import annotations

import asyncio
import threading
from contextlib import AsyncExitStack
from pathlib import Path

from structlog.testing import capture_logs

from cdc_daemon.app.serving import serving
from cdc_daemon.config import AuthSettings, HttpSettings, TokenSettings
from cdc_daemon.config.http import Scope
from cdc_http import HttpServer, create_app
from tests.unit.http.fake import FakeDaemon


class Served:
    """A daemon's surface in a thread of its own, also on the control socket of a state directory where one is given."""

    def __init__(self, token_file: Path, *, scopes: tuple[Scope, ...] = ("sync",), state: Path | None = None) -> None:
        self._state = state
        self.token_file = token_file
        token = TokenSettings(name="t", file=token_file, scopes=scopes)
        self._settings = HttpSettings(auth=AuthSettings(tokens=(token,)))
        # Commands write to the same standard output as the surface's log would here.
        self._quiet = capture_logs()
        self.logged = self._quiet.__enter__()
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._started.wait(10)

    async def _serve(self) -> None:
        self.daemon = FakeDaemon()
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = HttpServer(create_app(self.daemon, self._settings), host="127.0.0.1", port=0)
        await server.start()
        self.url = f"http://127.0.0.1:{server.port}"
        async with AsyncExitStack() as stack:
            if self._state is not None:
                await stack.enter_async_context(serving(self.daemon, HttpSettings(enabled=False), state=self._state))
            self._started.set()
            await self._stop.wait()
        await server.stop()

    def stop(self) -> None:
        """Stop the server. A second call does nothing."""
        if not self._thread.is_alive():
            return
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._quiet.__exit__(None, None, None)
