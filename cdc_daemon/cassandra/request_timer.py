"""The timeout of a request to Cassandra, which forgets the request as soon as it is answered.

The driver keeps a cancelled timer in its queue until the timeout is over. The timer refers to the request, which holds
the whole answer and refers to the timer. So without this class each answer stays in memory for the request timeout,
and then waits for the cyclic garbage collector (`ResponseFuture._start_timer`, `TimerManager`, driver 3.30).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class _Timer(Protocol):
    """A timer of the driver."""

    def cancel(self) -> None:
        """Do not call the callback any more."""
        ...


class RequestTimer:
    """A timer of the driver that drops its callback when it is cancelled. `create` makes the driver's own timer."""

    __slots__ = ("_callback", "_timer")

    def __init__(
        self, create: Callable[[float, Callable[[], None]], _Timer], timeout: float, callback: Callable[[], None]
    ) -> None:
        self._callback = callback
        self._timer: _Timer | None = create(timeout, self._run)

    def cancel(self) -> None:
        """Do not call the callback any more, and drop it."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
            self._callback = _do_nothing

    def _run(self) -> None:
        self._callback()


def _do_nothing() -> None:
    """Stand in for the callback of a cancelled timer, which the driver's thread may be about to call."""
