"""A relay to a server: a test can shut it, which cuts its connections, or leave these open and dead."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from sandbox.proxy import TcpProxy

_PIECE = 65_536


class Relay(TcpProxy):
    """Passes connections at `port` of an address of this machine on to another address while it is open."""

    def __init__(self, host: str, port: int, *, address: str = "127.0.0.1") -> None:
        super().__init__(host, port, address=address)
        self._generation = 0

    def deaden(self) -> None:
        """Drop from now on all that the present connections carry, and leave them open; new ones are passed on."""
        self._generation += 1

    async def carry(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there: asyncio.StreamReader,
        back: asyncio.StreamWriter,
    ) -> None:
        """Pass both directions on until both have ended."""
        generation = self._generation

        def alive() -> bool:
            return generation == self._generation

        await asyncio.gather(_copy(reader, back, alive), _copy(there, writer, alive))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, alive: Callable[[], bool]) -> None:
    while piece := await reader.read(_PIECE):
        if alive():
            writer.write(piece)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()
