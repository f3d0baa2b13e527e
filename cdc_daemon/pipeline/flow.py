"""Counts of the signals that entered a coalescer, by result."""

from __future__ import annotations

from typing import NamedTuple


class Flow(NamedTuple):
    """The number of signals that entered a coalescer since its start, by result.

    `taken` counts all, including those for the rows of a partition; `coalesced` joined a key that was already pending;
    `rows` and `partitions` are keys settled; `forgotten` are keys that nobody needed any more. Together with the
    pending keys they add up (docs/guarantees.md, promise 7):
    taken = coalesced + rows + partitions + forgotten + pending.
    """

    taken: int
    coalesced: int
    rows: int
    partitions: int
    forgotten: int
