"""What became of the signals that came into a coalescer."""

from __future__ import annotations

from typing import NamedTuple


class Flow(NamedTuple):
    """How many signals came into a coalescer since its start, and what became of them.

    `taken` are all, those for the rows of a partition included; `coalesced` joined a key that was pending
    already; `rows` and `partitions` are keys settled; `forgotten` are keys that nobody wanted any more. With what is
    pending they add up: taken = coalesced + rows + partitions + forgotten + pending (architecture, promise 7).
    """

    taken: int
    coalesced: int
    rows: int
    partitions: int
    forgotten: int
