"""A proxy on the way to a server, in a thread of its own. Subclasses say what it does to connections."""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import Any, Self


class TcpProxy(ABC):
    """Accepts connections at `port` of an address of this machine, and connects each to another address.

    It listens from `__enter__` or `open` until `shut`. All coroutines run in the proxy's own event loop.
    """

    def __init__(self, host: str, port: int, *, address: str = "127.0.0.1") -> None:
        self.address = address
        self.port = 0
        self._target = (host, port)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._server: asyncio.Server | None = None
        self._passing: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Accept connections, at the previous port if there was one."""
        self.run(self._open())

    def shut(self) -> None:
        """Refuse connections and cut those there are."""
        self.run(self._shut())

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine in the proxy's event loop, and return when it has ended."""
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def __enter__(self) -> Self:
        self._thread.start()
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.shut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @abstractmethod
    async def carry(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there: asyncio.StreamReader,
        back: asyncio.StreamWriter,
    ) -> None:
        """Carry one connection: `reader` and `writer` are the client's, `there` and `back` the server's."""

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._accept, self.address, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._passing.add(task)
        try:
            there, back = await asyncio.open_connection(*self._target)
            try:
                await self.carry(reader, writer, there, back)
            finally:
                back.transport.abort()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self._passing.discard(task)
