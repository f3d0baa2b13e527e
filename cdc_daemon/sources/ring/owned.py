"""The owner's side: which changes this daemon has written, and the answers to others who ask for them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from enum import IntEnum

from cdc_daemon.model.receipt import Receipt
from cdc_daemon.sources.ring.identity import ChangeIdentity, unpacked
from cdc_daemon.sources.ring.noted import SLOTS, NotedChanges

QUESTION = "changes"
"""The name of the question."""


class ChangeState(IntEnum):
    """What the owner's daemon knows of a change."""

    UNKNOWN = 0
    """It was not read from the log, or is forgotten, or became a dead letter: somebody else must write it."""

    IN_FLIGHT = 1
    """It was read from the log, and is not written yet."""

    STORED = 2
    """A part of its work waits in this daemon's state directory: in the spool, or in the queue of dependents."""

    SETTLED = 3
    """It is written."""


class OwnedChanges:
    """Notes the changes that this daemon writes, and answers which of them are written.

    All changes of a portion of the log share a receipt. A change is settled when its portion's receipt is done. This
    does not depend on the checkpoint, which also waits for changes that were left to other daemons: two daemons that
    asked each other for their checkpoints would wait for each other for ever.

    What only this daemon's state directory holds is not settled: the directory may be lost with the daemon. `stores`
    returns whether the spool or the queue of dependents holds anything. Others process a dead letter's change
    themselves, so each replica has the letter. `state_id` names the state directory.
    """

    def __init__(
        self,
        *,
        state_id: bytes = bytes(16),
        stores: Callable[[], bool] = lambda: False,
        slots: int = SLOTS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._noted = NotedChanges(slots=slots, now=now)
        self._state_id = state_id
        self._stores = stores
        self._sequence = 0
        self._open: set[int] = set()
        self._stored: set[int] = set()
        self._set_aside: set[int] = set()
        self._first = self._noted.first

    def open(self, identities: Iterable[ChangeIdentity], when_done: Callable[[], None]) -> Receipt:
        """Note the changes of a portion; return the receipt that settles them. It is held once."""
        self._sequence += 1
        sequence = self._sequence
        self._open.add(sequence)
        for identity in identities:
            self._noted.note(identity, sequence)
        if self._first != self._noted.first:
            self._forget_before(self._noted.first)

        def settle() -> None:
            self._open.discard(sequence)
            if receipt.set_aside:
                self._set_aside.add(sequence)
            elif receipt.stored:
                self._stored.add(sequence)
            when_done()

        receipt = Receipt(settle)
        return receipt

    def state(self, identity: ChangeIdentity) -> ChangeState:
        """Return the state of one change."""
        sequence = self._noted.find(identity)
        if not sequence or sequence in self._set_aside:
            return ChangeState.UNKNOWN
        if sequence in self._open:
            return ChangeState.IN_FLIGHT
        if sequence in self._stored:
            return ChangeState.STORED
        return ChangeState.SETTLED

    def answer(self, question: bytes) -> bytes:
        """Answer for packed identities: the id of the state directory, and a byte for each. Raises ValueError."""
        if self._stored and not self._stores():
            self._stored.clear()
        return self._state_id + bytes(map(self.state, unpacked(question)))

    def _forget_before(self, first: int) -> None:
        """Remove the portions whose changes are forgotten: once for each generation of changes."""
        self._first = first
        for sequences in (self._stored, self._set_aside):
            sequences.difference_update([each for each in sequences if each < first])
