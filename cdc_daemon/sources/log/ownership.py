"""Of the changes in this node's log, those that are its daemon's to act on; the others are left to other replicas'."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import structlog

from cdc_daemon.model.receipt import Receipt
from cdc_daemon.model.signal import Signal, TableName
from cdc_daemon.pipeline.handover import hand_over_for_good
from cdc_daemon.sources.log.ports import ReconcileRequests, SignalSink
from cdc_daemon.store.reconcile_requests import ReconcileReason, ReconcileRequest

log = structlog.get_logger(__name__)

INTERVAL = 1.0
"""Seconds between two looks at who is up."""

REMEMBERED_SECONDS = 60.0
"""How long what was left to a node is kept in mind. Others notice by gossip that it is down, mostly within twenty
seconds (`FailureDetector`, phi_convict_threshold 8), and its daemon needs a moment for what it has."""

REMEMBERED = 50_000
"""The most changes that are kept in mind."""


class Owners(Protocol):
    """Knows whose a change is; `cassandra.ownership.Ownership`."""

    def refresh(self) -> None:
        """Take note of the ring as it is now."""
        ...

    def is_live(self, node: str) -> bool:
        """Whether a node is up."""
        ...

    def left_to(self, keyspace: str, partition_key: bytes) -> str | None:
        """Return the node to which a key's changes are left; None where they are this node's."""
        ...


class OwnSignals:
    """Hands on the signals that are this node's, and leaves the others, which are settled by that.

    A change that is left is in another replica's log too, or comes there by a hint or a repair. Only where that node
    goes down right after, before it has acted, would the document wait for its return. So what was left of late is kept
    in mind, and acted on when the node is seen down; where that was more than is kept, the node's own ranges are
    reconciled.

    `everywhere` are tables whose rows each daemon acts on, `left` and `taken_over` count signals, and `now` tells
    seconds of a monotonic clock.
    """

    def __init__(
        self,
        sink: SignalSink,
        owners: Owners,
        *,
        requests: ReconcileRequests,
        everywhere: Collection[TableName] = (),
        left: Callable[[int], None],
        taken_over: Callable[[int], None],
        limit: int = REMEMBERED,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sink = sink
        self._owners = owners
        self._requests = requests
        self._everywhere = frozenset(everywhere)
        self._count_left = left
        self._count_taken_over = taken_over
        self._limit = limit
        self._now = now
        self._recent: deque[tuple[float, str, Signal]] = deque()
        self._forgotten: dict[str, float] = {}

    async def submit(self, signals: Sequence[Signal], receipt: Receipt) -> None:
        """Hand on what is this node's; wait while there is no room for it."""
        self._owners.refresh()
        now = self._now()
        own = []
        for signal in signals:
            node = None
            if signal.table not in self._everywhere:
                node = self._owners.left_to(signal.table.keyspace, signal.partition_key)
            if node is None:
                own.append(signal)
            else:
                self._recent.append((now, node, signal))
        self._count_left(len(signals) - len(own))
        self._forget(now)
        if own:
            await self._sink.submit(own, receipt)

    async def look(self) -> None:
        """Act on what was left of late to nodes that are down now. Raises `StoreError`."""
        self._owners.refresh()
        now = self._now()
        self._forget(now)
        down = {node for _, node, _ in self._recent if not self._owners.is_live(node)}
        missed = {node for node in self._forgotten if not self._owners.is_live(node)}
        if missed:
            log.warning(
                "ownership.reconcile", nodes=sorted(missed), reason="more was left to them than is kept in mind"
            )
            await asyncio.to_thread(
                self._requests.add, [ReconcileRequest(reason=ReconcileReason.REPLICA_DOWN, segment_id=0)]
            )
            for node in missed:
                del self._forgotten[node]
        if down:
            signals = [signal for _, node, signal in self._recent if node in down]
            log.warning("ownership.taken_over", nodes=sorted(down), changes=len(signals))
            await hand_over_for_good(self._sink.submit, signals)
            self._count_taken_over(len(signals))
            taken = set(map(id, signals))
            self._recent = deque(each for each in self._recent if id(each[2]) not in taken)

    def _forget(self, now: float) -> None:
        while self._recent and self._recent[0][0] < now - REMEMBERED_SECONDS:
            self._recent.popleft()
        while len(self._recent) > self._limit:
            since, node, _ = self._recent.popleft()
            self._forgotten[node] = since
        self._forgotten = {node: since for node, since in self._forgotten.items() if since >= now - REMEMBERED_SECONDS}
