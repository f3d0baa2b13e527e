"""How much of a bounded resource each caller holds, and what is reclaimed first when the resource runs out.

The caller that holds the most loses its newest item. So a greedy caller displaces only itself, and a caller below its
fair share loses nothing (longest-queue drop, as in buffers of routers).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

from starlette.requests import Request

from cdc_http.auth.authorization import caller_of
from cdc_http.connections.slots import network_of


def caller_key(request: Request) -> str:
    """Return the name under which the usage of a request's caller is counted.

    It is the owner of a valid token, otherwise the address. A token that is not valid does not count: a caller could
    invent many.
    """
    caller = caller_of(request)
    if caller is not None:
        return f"token {caller.name}"
    return f"address {network_of(request.client)}"


T = TypeVar("T", bound=Hashable)


class UsageByCaller(Generic[T]):
    """Items and their sizes, for each caller."""

    def __init__(self) -> None:
        self._items: dict[str, dict[T, int]] = {}
        self._sums: dict[str, int] = {}
        self.total = 0

    @property
    def callers(self) -> Iterable[str]:
        """The callers that hold something."""
        return self._items.keys()

    def used_by(self, caller: str) -> int:
        """Return the total size of a caller's items."""
        return self._sums.get(caller, 0)

    def add(self, caller: str, item: T, size: int = 1) -> None:
        """Add an item of a caller, or enlarge it."""
        items = self._items.setdefault(caller, {})
        items[item] = items.get(item, 0) + size
        self._sums[caller] = self._sums.get(caller, 0) + size
        self.total += size

    def remove(self, caller: str, item: T) -> None:
        """Remove an item, if it is still there."""
        items = self._items.get(caller, {})
        if item not in items:
            return
        size = items.pop(item)
        self.total -= size
        self._sums[caller] -= size
        if not items:
            del self._items[caller], self._sums[caller]

    def oldest_of(self, caller: str) -> T:
        """Return a caller's oldest item. Raises `KeyError` when it has none."""
        return next(iter(self._items[caller]))

    def newest_of_largest_user(self) -> tuple[str, T]:
        """Return the caller that holds the most, and its newest item. Raises `ValueError` when there are no items."""
        largest = max(self._sums, key=self._sums.__getitem__)
        return largest, next(reversed(self._items[largest]))
