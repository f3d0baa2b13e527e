"""Acknowledgement in order: a position is acknowledged only when everything before it is done too."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from cdc_daemon.model.errors import Trouble
    from cdc_daemon.model.signal import Key

PositionT = TypeVar("PositionT")


class Receipt:
    """Counts the pending entries that one submission of signals became.

    Code that accepts work for the receipt calls `hold`, and `release` when that work is settled in
    Elasticsearch or durably set aside. The source that opened the receipt holds it once itself during the
    submission. A receipt that `follows` is also held for changes passed on to documents of other keys; any
    other covers its own keys only.

    A `refusable` receipt is given back for keys that wait for an alias in trouble: its owner submits these again
    later. `refused` holds the reasons by key. With an `alias`, only that alias is relevant. Any other receipt is held
    until such keys are written, or durable in the spool.

    `stored` is true if part of the work waits in this daemon's state directory, in the spool or in the queue of
    dependents. `set_aside` is true if part of it became a dead letter. Neither is known to other daemons.
    """

    __slots__ = ("_held", "_when_done", "alias", "follows", "refusable", "refused", "set_aside", "stored")

    def __init__(
        self,
        when_done: Callable[[], None],
        *,
        follows: bool = True,
        refusable: bool = False,
        alias: str | None = None,
    ) -> None:
        self.follows = follows
        self.alias = alias
        self.refusable = refusable
        self.refused: dict[Key, Trouble] = {}
        self.stored = False
        self.set_aside = False
        self._held = 1
        self._when_done = when_done

    @property
    def done(self) -> bool:
        """Return whether no work is pending for it."""
        return self._held == 0

    def hold(self) -> None:
        """Add one piece of work."""
        assert self._held > 0, "a receipt that is done cannot take on work"
        self._held += 1

    def release(self) -> None:
        """Remove one piece of work that is settled."""
        assert self._held > 0, "a receipt was released more often than held"
        self._held -= 1
        if self._held == 0:
            self._when_done()

    def refuse(self, key: Key, troubles: Mapping[str, Trouble]) -> None:
        """Release the work for a key; record it as refused if it was for one of these aliases."""
        for alias, trouble in troubles.items():
            if self.alias in {None, alias}:
                self.refused[key] = trouble
        self.release()


class AcknowledgementLine(Generic[PositionT]):
    """The receipts of one source in the order of its positions.

    `acknowledged` is the position up to which nothing is pending. It moves only forward over receipts
    that are done, so it never passes one that is not, however many after it are (docs/guarantees.md, promise 6).
    At most `limit` receipts are open: `open` waits while there are more. Receipts for one `alias` can be
    refused: the line then stops permanently before the first receipt with a refusal, and `refused` is set.
    """

    def __init__(self, start: PositionT, *, limit: int = 1024, alias: str | None = None) -> None:
        self.acknowledged: PositionT = start
        self.refused: Trouble | None = None
        self._alias = alias
        self._line: deque[tuple[Receipt, PositionT]] = deque()
        self._limit = limit
        self._moved = asyncio.Condition()
        self._wakers: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._line)

    async def open(self, position: PositionT) -> Receipt:
        """Open the receipt of the work that ends at `position`; positions come in ascending order."""
        async with self._moved:
            await self._moved.wait_for(lambda: len(self._line) < self._limit or self.refused is not None)
        receipt = Receipt(self._advance, refusable=self._alias is not None, alias=self._alias)
        self._line.append((receipt, position))
        return receipt

    async def wait_moved(self, seen: PositionT) -> PositionT:
        """Wait until `acknowledged` is no longer `seen`, and return what it is now."""
        async with self._moved:
            await self._moved.wait_for(lambda: self.acknowledged != seen)
        return self.acknowledged

    async def wait_empty(self, *, but: int = 0) -> None:
        """Wait until every open receipt is done, or all except the newest `but`, or one is refused."""
        async with self._moved:
            await self._moved.wait_for(lambda: len(self._line) <= but or self.refused is not None)

    def _advance(self) -> None:
        moved = False
        while self.refused is None and self._line and self._line[0][0].done:
            refused = self._line[0][0].refused
            if refused:
                self.refused = next(iter(refused.values()))
                moved = True
                break
            self.acknowledged = self._line.popleft()[1]
            moved = True
        if moved:
            waker = asyncio.get_running_loop().create_task(self._wake())
            self._wakers.add(waker)
            waker.add_done_callback(self._wakers.discard)

    async def _wake(self) -> None:
        async with self._moved:
            self._moved.notify_all()
