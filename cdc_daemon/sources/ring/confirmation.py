"""Asks the owners which changes they have written, and writes here what they do not confirm in time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import structlog

from cdc_daemon.model.errors import PeerError, PeerLeftError, StoreError
from cdc_daemon.sources.log.ports import SignalSink
from cdc_daemon.sources.log.signals import signals_of
from cdc_daemon.sources.ring.division import DivisionObserver
from cdc_daemon.sources.ring.identity import packed
from cdc_daemon.sources.ring.left import LeftChange, LeftChanges
from cdc_daemon.sources.ring.owned import QUESTION, ChangeState, OwnedChanges

log = structlog.get_logger(__name__)

INTERVAL = 1.0
"""Seconds between two questions to the same daemon."""

UNKNOWN_SECONDS = 5.0
"""Seconds after which a change that its owner's daemon has not read is written here."""

IN_FLIGHT_SECONDS = 30.0
"""Seconds after which a change that its owner's daemon has read and not written is written here."""

STORED_SECONDS = 600.0
"""Seconds after which a change is written here whose work waits in the state directory of its owner's daemon."""

SILENT_SECONDS = 10.0
"""Seconds without an answer after which a daemon counts as gone, whatever the driver or gossip believes."""

AT_ONCE = 5000
"""Changes in one question: the daemon that answers needs some milliseconds."""

STATE_ID_SIZE = 16

_SETTLED_AT_ONCE = 1000
_LOG_INTERVAL = 30.0


class ConfirmingPeers(Protocol):
    """Asks the daemon beside a node; implemented by `peers.ring.Peers`."""

    async def ask(self, node: str, name: str, body: bytes = b"") -> bytes:
        """Return the answer. Raises `PeerError`, and `PeerLeftError` if the node has left the ring."""
        ...


KeepExpiries = Callable[[str, bytes, Sequence[LeftChange]], Awaitable[None]]
"""Stores durably, for a node and its state id, when values of confirmed changes expire. Raises `StoreError`."""


async def _keep_nothing(_node: str, _state_id: bytes, _changes: Sequence[LeftChange]) -> None:
    """Store nothing."""


class Confirmation:
    """Asks each owner about once a second for all changes left to it, and releases those that it confirms.

    What a daemon does not confirm in time is asked of the next replica in the ring's order, and written here if this
    node is the next one. So at first one other daemon acts, and each further one only if the one before it does not.
    A daemon that does not answer for `SILENT_SECONDS` is gone: its changes pass on at once until it answers again.

    While this daemon cannot write documents (`ready` returns false), it does not take over what its owner has read,
    because the owner cannot write it either. While `filling` is true, it takes over everything, to empty cdc_raw.
    """

    def __init__(
        self,
        left: LeftChanges,
        *,
        owned: OwnedChanges,
        peers: ConfirmingPeers,
        sink: SignalSink,
        observer: DivisionObserver,
        keep_expiries: KeepExpiries = _keep_nothing,
        ready: Callable[[], bool] = lambda: True,
        filling: Callable[[], bool] = lambda: False,
        interval: float = INTERVAL,
    ) -> None:
        self._left = left
        self._owned = owned
        self._peers = peers
        self._sink = sink
        self._observer = observer
        self._keep_expiries = keep_expiries
        self._ready = ready
        self._filling = filling
        self._interval = interval
        self._ready_since = 0.0
        self._oldest: float | None = None
        self._silent_since: dict[str, float] = {}
        self._gone: set[str] = set()
        self._overdue: deque[LeftChange] = deque()
        self._overdue_came = asyncio.Event()

    @property
    def gone(self) -> frozenset[str]:
        """The nodes whose daemon does not answer."""
        return frozenset(self._gone)

    @property
    def age(self) -> float:
        """The seconds since the oldest unconfirmed change was read; 0 if there is none, as of the last questions."""
        return 0.0 if self._oldest is None else asyncio.get_running_loop().time() - self._oldest

    async def run(self) -> None:
        """Ask, and write here what is overdue, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_asking(), name="ring-ask")
            tasks.create_task(self._keep_settling(), name="ring-settle")

    async def turn(self) -> None:
        """Ask each daemon once."""
        now = asyncio.get_running_loop().time()
        if not self._ready():
            self._ready_since = now
        if self._filling():
            for node in self._left.nodes:
                self._settle_here(self._left.take(node), "space")
        await asyncio.gather(*(self._ask(node) for node in dict.fromkeys((*self._left.nodes, *self._silent_since))))
        moments = (self._left.oldest(), self._overdue[0].read_at if self._overdue else None)
        self._oldest = min((each for each in moments if each is not None), default=None)

    async def _keep_asking(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            await self.turn()

    async def _ask(self, node: str) -> None:
        """Ask a daemon for all changes left to it. A daemon that is gone is only asked whether it is back."""
        changes = self._left.take(node)
        if node in self._gone:
            self._pass_on(changes, "no_answer")
            changes = []
        unasked = 0
        kept: list[LeftChange] = []
        while unasked < len(changes) or not unasked:
            portion = changes[unasked : unasked + AT_ONCE]
            try:
                state_id, states = await self._states(node, portion)
            except PeerError as error:
                self._note_silence(node, error)
                if isinstance(error, PeerLeftError) and node in self._gone and not changes:
                    self._forget(node)
                break
            self._note_answer(node)
            unasked += len(portion) or 1
            kept += await self._judge(node, state_id, portion, states)
        rest = changes[unasked:]
        if node in self._gone:
            self._pass_on(kept + rest, "no_answer")
        else:
            self._left.put_back(node, kept + rest)

    async def _states(self, node: str, portion: Sequence[LeftChange]) -> tuple[bytes, bytes]:
        """Return the id of a daemon's state, and its state of each change as a byte. Raises `PeerError`."""
        answer = await self._peers.ask(node, QUESTION, packed(each.identity for each in portion))
        state_id, states = answer[:STATE_ID_SIZE], answer[STATE_ID_SIZE:]
        if len(states) != len(portion):
            raise PeerError(f"expected {len(portion)} states, found {len(states)}", peer=node)
        return state_id, states

    async def _judge(
        self, node: str, state_id: bytes, portion: Sequence[LeftChange], states: bytes
    ) -> list[LeftChange]:
        """Release confirmed changes, and pass overdue ones on; return the others."""
        now = asyncio.get_running_loop().time()
        confirmed: list[LeftChange] = []
        overdue: dict[ChangeState, list[LeftChange]] = {}
        kept: list[LeftChange] = []
        for change, value in zip(portion, states, strict=True):
            state = _STATES.get(value, ChangeState.UNKNOWN)
            if state is ChangeState.SETTLED:
                confirmed.append(change)
                continue
            since = change.since if state is ChangeState.UNKNOWN else max(change.since, self._ready_since)
            if now - since >= _PATIENCE[state]:
                overdue.setdefault(state, []).append(change)
            else:
                kept.append(change)
        for state, changes in overdue.items():
            self._pass_on(changes, state.name.lower())
        try:
            await self._keep_expiries(node, state_id, [each for each in confirmed if each.update.expires])
        except StoreError as error:
            log.warning("ring.expiries_not_stored", error=str(error), hint=error.hint, every=_LOG_INTERVAL)
            return kept + confirmed
        self._left.settled(confirmed)
        self._observer.confirmed(len(confirmed))
        return kept

    def _pass_on(self, changes: Sequence[LeftChange], reason: str) -> None:
        now = asyncio.get_running_loop().time()
        self._settle_here([each for each in changes if not self._left.ask_next(each, now)], reason)

    def _settle_here(self, changes: Sequence[LeftChange], reason: str) -> None:
        if changes:
            log.info("ring.settled_here", changes=len(changes), reason=reason, every=_LOG_INTERVAL, every_key=reason)
            self._observer.settled_here(reason, len(changes))
            self._overdue.extend(changes)
            self._overdue_came.set()

    async def _keep_settling(self) -> None:
        """Submit overdue changes in portions; the pipeline's own limit is their rate."""
        while True:
            await self._overdue_came.wait()
            self._overdue_came.clear()
            while self._overdue:
                changes = [self._overdue.popleft() for _ in range(min(len(self._overdue), _SETTLED_AT_ONCE))]
                await self._submit(changes)

    async def _submit(self, changes: Sequence[LeftChange]) -> None:
        receipt = self._owned.open((each.identity for each in changes), lambda: self._left.settled(changes))
        await self._sink.submit([*signals_of(each.update for each in changes)], receipt)
        receipt.release()

    def _note_silence(self, node: str, error: PeerError) -> None:
        now = asyncio.get_running_loop().time()
        since = self._silent_since.setdefault(node, now)
        if node not in self._gone and now - since >= SILENT_SECONDS:
            self._gone.add(node)
            log.warning(
                "ring.daemon_gone",
                node=node,
                error=str(error),
                hint="its changes are written here or by another replica until it answers again",
            )

    def _forget(self, node: str) -> None:
        """Ask a node no more that has left the ring: nothing is left to it, and its daemon cannot come back."""
        self._silent_since.pop(node, None)
        self._gone.discard(node)
        log.info("ring.node_left", node=node)

    def _note_answer(self, node: str) -> None:
        self._silent_since.pop(node, None)
        if node in self._gone:
            self._gone.discard(node)
            log.info("ring.daemon_back", node=node)


_STATES = {int(state): state for state in ChangeState}
_PATIENCE = {
    ChangeState.UNKNOWN: UNKNOWN_SECONDS,
    ChangeState.IN_FLIGHT: IN_FLIGHT_SECONDS,
    ChangeState.STORED: STORED_SECONDS,
}
