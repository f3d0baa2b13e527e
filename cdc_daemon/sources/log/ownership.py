"""Split the changes in this node's log: its daemon processes its own; daemons of other replicas process the rest."""

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
from cdc_daemon.sources.log.ports import ReconcileRequestStore, SignalSink
from cdc_daemon.store.reconcile_requests import ReconcileReason, ReconcileRequest

log = structlog.get_logger(__name__)

INTERVAL = 1.0
"""Seconds between two checks for nodes that are down."""

REMEMBERED_SECONDS = 60.0
"""Seconds for which changes left to another node are remembered. Other nodes detect by gossip that it is down, mostly
within twenty seconds (`FailureDetector`, phi_convict_threshold 8), and its daemon needs time for its backlog."""

REMEMBERED = 50_000
"""The most changes that are remembered."""


class Owners(Protocol):
    """Decides which node owns a change; implemented by `cassandra.ownership.Ownership`."""

    def refresh(self) -> None:
        """Update to the current ring."""
        ...

    def is_live(self, node: str) -> bool:
        """Return whether a node is up."""
        ...

    def other_owner(self, keyspace: str, partition_key: bytes) -> str | None:
        """Return the node that owns a key's changes; None if this node does."""
        ...


class OwnershipFilter:
    """Submits the signals that this node owns and drops the others, which counts as acknowledged.

    A dropped change is also in another replica's log, or arrives there by a hint or a repair. But if that node goes
    down before it processes the change, the document would stay stale until it returns. So recently dropped signals
    are remembered, and submitted when their owner is down. If there were more than the limit, this node's own ranges
    are reconciled.

    `everywhere` are tables that each daemon processes in full, `left` and `taken_over` count signals, and `now`
    returns seconds of a monotonic clock.
    """

    def __init__(
        self,
        sink: SignalSink,
        owners: Owners,
        *,
        requests: ReconcileRequestStore,
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
        """Submit the signals that this node owns; wait while the sink is full."""
        self._owners.refresh()
        now = self._now()
        own = []
        for signal in signals:
            node = None
            if signal.table not in self._everywhere:
                node = self._owners.other_owner(signal.table.keyspace, signal.partition_key)
            if node is None:
                own.append(signal)
            else:
                self._recent.append((now, node, signal))
        self._count_left(len(signals) - len(own))
        self._forget(now)
        if own:
            await self._sink.submit(own, receipt)

    async def take_over(self) -> None:
        """Submit recent signals of nodes that are down now. Raises `StoreError`."""
        self._owners.refresh()
        now = self._now()
        self._forget(now)
        down = {node for _, node, _ in self._recent if not self._owners.is_live(node)}
        missed = {node for node in self._forgotten if not self._owners.is_live(node)}
        if missed:
            log.warning(
                "ownership.reconcile",
                nodes=sorted(missed),
                reason="more changes were left to them than are remembered",
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
