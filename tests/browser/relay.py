"""A relay to a server: a test can shut it, which cuts its connections, or leave these open and dead."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Self

_PIECE = 65_536


class Relay:
    """Passes connections at `port` of an address of this machine on to another address while it is open."""

    def __init__(self, host: str, port: int, *, address: str = "127.0.0.1") -> None:
        self.address = address
        self._target = (host, port)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._server: asyncio.Server | None = None
        self._passing: set[asyncio.Task[None]] = set()
        self._generation = 0
        self.port = 0

    def open(self) -> None:
        """Accept connections, at the previous port if there was one."""
        self._do(self._open())

    def shut(self) -> None:
        """Refuse connections and cut those there are."""
        self._do(self._shut())

    def deaden(self) -> None:
        """Drop from now on all that the present connections carry, and leave them open; new ones are passed on."""
        self._generation += 1

    def __enter__(self) -> Self:
        self._thread.start()
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.shut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: object) -> None:
        done: Future[None] = asyncio.run_coroutine_threadsafe(work, self._loop)  # type: ignore[arg-type]
        done.result(30)

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._pass, self.address, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._passing.add(task)
        generation = self._generation

        def alive() -> bool:
            return generation == self._generation

        try:
            there, back = await asyncio.open_connection(*self._target)
            try:
                await asyncio.gather(_copy(reader, back, alive), _copy(there, writer, alive))
            finally:
                back.transport.abort()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self._passing.discard(task)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, alive: Callable[[], bool]) -> None:
    while piece := await reader.read(_PIECE):
        if alive():
            writer.write(piece)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()
