"""Expiries are kept at every replica: the owner's daemon watches them, and the others act if it is gone."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

import orjson
import structlog

from cdc_daemon.model.errors import PeerError
from cdc_daemon.model.signal import Key, Scope, Signal
from cdc_daemon.pipeline.gate import Gate
from cdc_daemon.pipeline.handover import BackgroundSink, hand_over_for_good
from cdc_daemon.sources.log.signals import signals_of
from cdc_daemon.sources.ring.confirmation import ConfirmingPeers
from cdc_daemon.sources.ring.left import LeftChange
from cdc_daemon.store import Store
from cdc_daemon.store.database import Place, key_columns
from cdc_daemon.store.left_expiries import LeftExpiry

log = structlog.get_logger(__name__)

QUESTION = "expiries"
"""The name of the question."""

INTERVAL = 2.0
"""Seconds between two checks for expiries that should be over."""

AFTER = 10
"""Seconds from an expiry to the question whether its owner's daemon has acted."""

LATE = 60
"""Seconds after an expiry from which this daemon acts if the owner's daemon has not, or does not answer."""

AT_ONCE = 500
"""Rows in one question."""


class ExpiryAnswers:
    """Answers which expiry this daemon watches next for rows: 0 if it has acted on all of them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def answer(self, question: bytes) -> bytes:
        """Return the id of the state directory, and the next expiry of each row. Raises ValueError."""
        try:
            places = [_place(each) for each in orjson.loads(question)]
        except (TypeError, ValueError, KeyError) as error:
            raise ValueError("expected rows as lists of keyspace, table, partition key and clustering") from error
        moments = await asyncio.to_thread(self._store.next_expiries, places)
        return orjson.dumps({"state": self._store.state_id.hex(), "next": moments})


def _place(given: Sequence[str]) -> Place:
    keyspace, table, partition_key, clustering = given
    return keyspace, table, bytes.fromhex(partition_key), clustering.encode()


class LeftExpiryWatch:
    """Keeps the expiries of confirmed changes, and acts on those that their owner's daemon does not act on.

    Shortly after an expiry it asks that daemon when values of the row expire next. The answer replaces what is kept
    here, so that this daemon always knows the next expiry of each row, as the owner has read it. If the daemon is gone,
    or has another state directory than when it confirmed the change, the row is read here, which finds its expiries.
    """

    def __init__(
        self,
        store: Store,
        *,
        peers: ConfirmingPeers,
        sink: BackgroundSink,
        gate: Gate,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._peers = peers
        self._sink = sink
        self._gate = gate
        self._now = now

    async def keep(self, node: str, state_id: bytes, changes: Sequence[LeftChange]) -> None:
        """Store durably when values of confirmed changes expire. Raises `StoreError`."""
        kept = [
            LeftExpiry(node, state_id, Key.of(signal), min(change.update.expires))
            for change in changes
            for signal in signals_of([change.update])
            if signal.scope is Scope.ROW
        ]
        if kept:
            await asyncio.to_thread(self._store.left_expiries.keep, kept)

    async def turn(self) -> None:
        """Process everything that is due. Raises `StoreError`."""
        while self._store.left_expiries.count and await self._process_due():
            pass

    async def _process_due(self) -> bool:
        """Process the first expiries that are due; return whether there may be more."""
        now = int(self._now())
        due = await asyncio.to_thread(self._store.left_expiries.due, now - AFTER, AT_ONCE)
        by_node: defaultdict[str, list[LeftExpiry]] = defaultdict(list)
        for each in due:
            by_node[each.node].append(each)
        progressed = False
        for node, expiries in by_node.items():
            progressed = await self._process(node, expiries, now) or progressed
        return progressed and len(due) == AT_ONCE

    async def _process(self, node: str, expiries: Sequence[LeftExpiry], now: int) -> bool:
        """Process due expiries that the daemon beside a node watches; return whether any of them is done."""
        following = await self._ask(node, expiries)
        overdue: list[LeftExpiry] = []
        done: list[LeftExpiry] = []
        kept: list[LeftExpiry] = []
        for expiry, moment in zip(expiries, following, strict=True):
            acts = moment is not None and (moment == 0 or moment > now - AFTER)
            if acts:
                done.append(expiry)
                kept += [expiry._replace(at=moment)] if moment else []
            elif now - expiry.at >= LATE:
                overdue.append(expiry)
        if overdue:
            await self._act(overdue)
        await asyncio.to_thread(self._store.left_expiries.replace, done + overdue, kept)
        return bool(done or overdue)

    async def _ask(self, node: str, expiries: Sequence[LeftExpiry]) -> Sequence[int | None]:
        """Return the next expiry of each row, 0 for none; None if the daemon does not know or does not answer."""
        places = [
            (keyspace, table, partition_key.hex(), clustering.decode())
            for keyspace, table, partition_key, clustering in (key_columns(each.key) for each in expiries)
        ]
        try:
            answer = orjson.loads(await self._peers.ask(node, QUESTION, orjson.dumps(places)))
            state_id, moments = bytes.fromhex(answer["state"]), [int(each) for each in answer["next"]]
            if len(moments) != len(expiries):
                return [None] * len(expiries)
        except (PeerError, ValueError, TypeError, KeyError):
            return [None] * len(expiries)
        return [
            moment if expiry.state_id == state_id else None for expiry, moment in zip(expiries, moments, strict=True)
        ]

    async def _act(self, overdue: Sequence[LeftExpiry]) -> None:
        log.info("ring.expiries_taken_over", rows=len(overdue))
        signals = [
            Signal(
                key.table,
                key.partition_key,
                Scope.ROW,
                key.clustering or (),
                suspected=at * 1_000_000,
                # The read has to find the row's next expiry, also in a table without any until now.
                expires=(at,),
            )
            for key, at in {each.key: each.at for each in overdue}.items()
        ]
        await self._gate.wait_open()
        await hand_over_for_good(self._sink.submit_background, signals)
