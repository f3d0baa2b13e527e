"""Compares this machine's clock with the servers', and sets versions back that are ahead, once the clock is right."""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import structlog

from cdc_daemon.model.version_clock import RESERVED, HybridClock, VersionRange

log = structlog.get_logger(__name__)

INTERVAL = 10.0
"""Seconds between two comparisons."""

CONFIRMATIONS = 3
"""Comparisons in a row that must show a right clock before versions step back: one answer may be wrong or late."""

_LOG_INTERVAL = 300.0

Measure = Callable[[], Awaitable[Sequence[float]]]
"""Returns by how many seconds this machine's clock is ahead of some servers' clocks. It does not raise."""


class ClockState(NamedTuple):
    """The last comparison.

    `ahead` is by how many seconds this machine's clock is ahead of the servers' (their median; negative if it is
    behind, None if none has answered), `versions_ahead` by how many the versions are ahead of this machine's clock.
    Versions up to `untrusted_until` (seconds since epoch, 0 if there are none) may come from a clock that was ahead.
    """

    ahead: float | None
    versions_ahead: float
    untrusted_until: float
    wrong: bool


class ClockWatch:
    """Compares the clock with those of Cassandra's nodes and of the search engine, at each `check`.

    Versions never decrease, so after a clock was ahead by an hour, they stay ahead until the clock has caught up, and
    the durable bound keeps them there over restarts. Then this daemon's documents would win over those of all other
    daemons for an hour. So when the servers confirm that the clock is right again, the versions step back to it. The
    documents that were written ahead remain: a later write of such a document meets a conflict, and is repeated above
    its version (docs/guarantees.md, promise 4).

    If the servers do not confirm the clock, the versions stay where they are: the clock may be the one that is wrong.
    """

    def __init__(
        self, clock: HybridClock, *, measures: Sequence[Measure], keep: Callable[[int, VersionRange], None]
    ) -> None:
        self._clock = clock
        self._measures = measures
        self._keep = keep
        self._confirmed = 0
        self._ahead: float | None = None

    @property
    def state(self) -> ClockState:
        """The last comparison, and what the versions are like now."""
        clock = self._clock
        wrong = self._ahead is not None and abs(self._ahead) * 1e6 > clock.allowed
        return ClockState(self._ahead, clock.lead() / 1e6, clock.untrusted.last / 1e6, wrong)

    def plain(self) -> dict[str, Any]:
        """Return the state in plain values."""
        state = self.state
        return {
            **state._asdict(),
            "ahead": None if state.ahead is None else round(state.ahead, 3),
            "versions_ahead": round(state.versions_ahead, 3),
        }

    async def check(self) -> None:
        """Compare the clocks once, and step back if that is due. Raises `StoreError`."""
        found = [each for measure in self._measures for each in await measure()]
        self._ahead = statistics.median(found) if found else None
        state = self.state
        if state.wrong:
            log.warning(
                "clock.wrong",
                seconds_ahead=round(state.ahead or 0.0, 3),
                hint="correct this machine's clock (NTP); documents are ordered by it",
                every=_LOG_INTERVAL,
            )
        right = state.ahead is not None and not state.wrong
        self._confirmed = self._confirmed + 1 if right else 0
        lead = self._clock.lead()
        if lead > RESERVED + self._clock.allowed and self._confirmed >= CONFIRMATIONS:
            self._clock.step_back(self._keep)
            log.warning(
                "clock.stepped_back",
                seconds=round(lead / 1e6, 3),
                hint="this machine's clock was ahead; documents with versions of that time are written above them",
            )
