"""A limit on the memory for all request bodies together, shared fairly among callers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog

from cdc_http.limits.usage import UsageByCaller
from cdc_http.responses import RequestError, too_many

log = structlog.get_logger(__name__)

_LOG_INTERVAL = 30.0


class BodyMemory:
    """Memory for at most `most` bytes of request bodies.

    Beyond that, the caller that holds the most bytes loses its newest body. That request is answered with 429 and
    with the seconds that `retry_after` estimates for its caller.
    """

    def __init__(self, most: int, retry_after: Callable[[str], int]) -> None:
        self._most = most
        self._retry_after = retry_after
        self._leases: UsageByCaller[Lease] = UsageByCaller()

    @asynccontextmanager
    async def lease(self, caller: str) -> AsyncIterator[Lease]:
        """Reserve memory for the body of one request while a block runs.

        The block is cancelled when it loses the memory. Raises `RequestError` then.
        """
        lease = Lease(self, caller)
        try:
            async with lease.scope:
                yield lease
        except TimeoutError:
            if not lease.lost:
                raise
            raise self.refusal(caller) from None
        finally:
            self._leases.remove(caller, lease)

    def add(self, lease: Lease, size: int) -> None:
        """Add bytes to a body. Raises `RequestError` when there are too many and its own caller holds the most."""
        self._leases.add(lease.caller, lease, size)
        while self._leases.total > self._most:
            caller, loser = self._leases.newest_of_largest_user()
            self._leases.remove(caller, loser)
            log.warning("http.body_refused", caller=caller, bytes=self._most, every=_LOG_INTERVAL, every_key=caller)
            if loser is lease:
                raise self.refusal(caller)
            loser.lose()

    def give_back(self, lease: Lease) -> None:
        """Release a body's bytes."""
        self._leases.remove(lease.caller, lease)

    def refusal(self, caller: str) -> RequestError:
        """Return the error for a request whose body gets no memory."""
        return too_many(
            f"The request bodies together exceed {self._most} bytes.", self._retry_after(caller), close=True
        )


class Lease:
    """Memory for one body. Compared by identity."""

    def __init__(self, bodies: BodyMemory, caller: str) -> None:
        self._bodies = bodies
        self.caller = caller
        self.lost = False
        self.scope = asyncio.timeout(None)

    def add(self, size: int) -> None:
        """Reserve memory for `size` more bytes. Raises `RequestError` when there is none."""
        if size:
            self._bodies.add(self, size)

    def lose(self) -> None:
        """Cancel the block that uses the memory, at its next await."""
        self.lost = True
        self.scope.reschedule(asyncio.get_running_loop().time())

    def end(self) -> None:
        """Release the memory before the block ends; from then on the block cannot be cancelled for it."""
        self._bodies.give_back(self)
        if not self.scope.expired():
            self.lost = False
            self.scope.reschedule(None)
