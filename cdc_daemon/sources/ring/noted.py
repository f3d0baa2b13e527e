"""The owned changes of the last minutes, with the portion of the log in which each was read: a table of fixed size."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from typing import Final

from cdc_daemon.sources.ring.identity import ChangeIdentity

SLOTS: Final = 1 << 20
"""The most slots of one generation: 24 MiB at 24 bytes each."""

FEWEST_SLOTS: Final = 1 << 12

GENERATION_SECONDS: Final = 300.0
"""Seconds after which a generation is replaced. A change is remembered for one to two of them: long enough for the
hints of a node that restarts."""


class _Table:
    """A hash table with open addressing. Sequences begin with 1, so 0 marks a free slot."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._room = 2 * slots // 3
        self._places, self._mutations, self._sequences = (array("Q", bytes(8 * slots)) for _ in range(3))

    def find(self, identity: ChangeIdentity) -> int:
        """Return the sequence that is noted for a change; 0 for none."""
        return self._sequences[self._slot(identity)]

    def put(self, identity: ChangeIdentity, sequence: int) -> bool:
        """Note a change; return False if there is no room."""
        slot = self._slot(identity)
        if not self._sequences[slot]:
            if not self._room:
                return False
            self._room -= 1
            self._places[slot], self._mutations[slot] = identity
        self._sequences[slot] = sequence
        return True

    def _slot(self, identity: ChangeIdentity) -> int:
        place, mutation = identity
        places, mutations, sequences, mask = self._places, self._mutations, self._sequences, self.slots - 1
        slot = (place ^ mutation ^ (mutation >> 32)) & mask
        while sequences[slot] and (places[slot] != place or mutations[slot] != mutation):
            slot = (slot + 1) & mask
        return slot


class _Generation:
    """Tables, each twice as large as the one before it, up to `slots` slots in all: nothing is ever moved."""

    def __init__(self, started: float, slots: int) -> None:
        self.started = started
        self._left = slots - FEWEST_SLOTS
        self._tables = [_Table(FEWEST_SLOTS)]

    @property
    def size(self) -> int:
        """The number of slots."""
        return sum(table.slots for table in self._tables)

    def find(self, identity: ChangeIdentity) -> int:
        """Return the newest sequence that is noted for a change; 0 for none."""
        return next((found for table in self._tables if (found := table.find(identity))), 0)

    def put(self, identity: ChangeIdentity, sequence: int) -> bool:
        """Note a change; return False if there is no room."""
        while not self._tables[0].put(identity, sequence):
            slots = 2 * self._tables[0].slots
            if slots > self._left:
                return False
            self._left -= slots
            self._tables.insert(0, _Table(slots))
        return True


class NotedChanges:
    """Remembers changes by identity: the newest ones, in two generations of at most `slots` slots.

    `now` returns seconds of a monotonic clock.
    """

    def __init__(self, *, slots: int = SLOTS, now: Callable[[], float] = time.monotonic) -> None:
        self._slots = slots
        self._now = now
        self._newer = _Generation(now(), slots)
        self._older = _Generation(now(), slots)
        self._first_of_newer = 1
        self.first = 1
        """The first sequence that may still be noted."""

    @property
    def size(self) -> int:
        """The number of slots in use and free, of 24 bytes each."""
        return self._newer.size + self._older.size

    def note(self, identity: ChangeIdentity, sequence: int) -> None:
        """Note that a change was read in the portion `sequence`; sequences ascend."""
        if self._now() - self._newer.started >= GENERATION_SECONDS or not self._newer.put(identity, sequence):
            self._replace(sequence)
            self._newer.put(identity, sequence)

    def find(self, identity: ChangeIdentity) -> int:
        """Return the newest sequence in which a change was read; 0 if it is not remembered."""
        return self._newer.find(identity) or self._older.find(identity)

    def _replace(self, sequence: int) -> None:
        self._older, self._newer = self._newer, _Generation(self._now(), self._slots)
        self.first, self._first_of_newer = self._first_of_newer, sequence
