"""Force: each row asked for is read from Cassandra now and settled in Elasticsearch before the answer."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Any, Protocol

from cdc_daemon.config.mapping import MappingSettings
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.elastic.operation import Outcome
from cdc_daemon.errors import CdcError
from cdc_daemon.pipeline.entry import Key
from cdc_daemon.pipeline.handover import refusal_of
from cdc_daemon.pipeline.signal import Signal
from cdc_daemon.pipeline.watch import Trouble, Watch
from cdc_daemon.sync.errors import HeldObjectTypeError, NotSettledError, UnknownObjectTypeError
from cdc_daemon.sync.identifier import Asked, Identifiers
from cdc_daemon.sync.outcome import SyncOutcome
from cdc_daemon.sync.refresh import Refresh
from cdc_daemon.sync.waiting import KeyWatch

WINDOW = 1500
"""Keys of one request that are asked for at once: enough for the urgent workers' batches and one more, so that a
request of a single id never waits behind all of another's thousands."""


_SUSPICIOUS_SECONDS = 1.0
"""A server that lets a batch wait for this long, or a quarter of its time, is why a request was not done in time."""


class Requested(Protocol):
    """The pipeline, as far as a request needs it."""

    def request(self, signals: Iterable[Signal], watch: Watch) -> None:
        """Take signals in at once; the watch is told of each key."""
        ...

    def withdraw(self, keys: Iterable[Key]) -> None:
        """Forget keys that nobody waits for any more."""
        ...


class Refreshing(Protocol):
    """What makes writes visible to searches."""

    async def refresh(self, alias: str, when: Refresh) -> None:
        """Return when searches see what was written before this call."""
        ...


class Health(Protocol):
    """What is known of the servers."""

    def trouble(self, alias: str) -> Trouble | None:
        """Tell why nothing can be written to an alias at present; None while nothing is known to be wrong."""
        ...

    def suspicion(self, at_least: float, keys: Collection[Key]) -> Trouble | None:
        """Tell which server lets workers wait, for so many seconds or because of a failure; of `keys` first of all."""
        ...


class SyncService:
    """Settles the rows that requests name, ahead of everything else the pipeline has to do.

    `held` are the object types whose mappings do not fit their tables at present, and why.
    """

    def __init__(
        self,
        pipeline: Requested,
        *,
        mappings: Iterable[DocumentMapping],
        settings: Mapping[str, MappingSettings],
        refresher: Refreshing,
        health: Health,
        window: int = WINDOW,
        held: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._pipeline = pipeline
        self._refresher = refresher
        self._health = health
        self._window = window
        self._stopping = asyncio.Event()
        self._held = held
        listed = list(mappings)
        self._aliases = {mapping.name: mapping.alias for mapping in listed}
        self._identifiers = {mapping.name: Identifiers(settings[mapping.name], mapping.table) for mapping in listed}

    @property
    def object_types(self) -> Sequence[str]:
        """The types that may be asked for."""
        return sorted(self._aliases)

    @property
    def held(self) -> Mapping[str, str]:
        """The types whose mappings do not fit their tables at present, and why."""
        return self._held

    def read_ids(self, object_type: str, ids: Sequence[Any]) -> list[Asked]:
        """Return what ids stand for.

        Raises `UnknownObjectTypeError`, `HeldObjectTypeError` and `InvalidIdError`.
        """
        identifiers = self._identifiers.get(object_type)
        if object_type in self._held:
            raise HeldObjectTypeError(object_type, self._held[object_type])
        if identifiers is None:
            raise UnknownObjectTypeError(object_type, self._identifiers)
        return identifiers.read(ids)

    async def settle(
        self,
        object_type: str,
        asked: Sequence[Asked],
        *,
        seconds: float | None = None,
        refresh: Refresh = Refresh.NO,
    ) -> SyncOutcome:
        """Settle each id: read after this call, then written, removed or set aside.

        Raises `NotSettledError` when that takes longer than `seconds` (None: however long it takes), when
        Elasticsearch is known to be unavailable, when the type's alias takes no writes, and when the daemon stops
        meanwhile.
        """
        alias = self._aliases[object_type]
        labels: dict[Key, list[str]] = defaultdict(list)
        for each in asked:
            labels[each.key].append(each.label)
        signals = {each.key: each.signal for each in asked}
        watch = KeyWatch(alias)
        trouble = self._health.trouble(alias)
        if trouble is not None and (seconds is not None or trouble.alias is not None):
            raise _not_settled(trouble, SyncOutcome())
        try:
            async with asyncio.timeout(seconds):
                await self._until_stop(self._settle(watch, signals))
                await self._refresher.refresh(alias, refresh)
        except TimeoutError:
            trouble = (
                self._health.trouble(alias)
                or self._health.suspicion(min(_SUSPICIOUS_SECONDS, (seconds or 0) / 4), watch.open)
                or watch.trouble
                or Trouble("daemon", "it takes longer")
            )
            raise _not_settled(trouble, _outcome(watch, labels)) from None
        except CdcError as error:
            raise _not_settled(watch.refusal or Trouble.of(error), _outcome(watch, labels)) from error
        finally:
            watch.closed = True
            self._pipeline.withdraw(watch.open)
        return _outcome(watch, labels)

    def stop(self) -> None:
        """Take no more requests, and end those under way: the pipeline is about to stop."""
        self._stopping.set()

    async def _settle(self, watch: KeyWatch, signals: Mapping[Key, Signal]) -> None:
        waiting = iter(signals)
        left = len(signals)
        while left or watch.open:
            room = min(self._window - len(watch.open), left)
            if room > 0:
                keys = [next(waiting) for _ in range(room)]
                left -= room
                watch.expect(keys)
                self._pipeline.request([signals[key] for key in keys], watch)
            if watch.open:
                await watch.wait_moved()
            if watch.refusal is not None:
                raise refusal_of(watch.refusal)

    async def _until_stop(self, settling: Any) -> None:
        work = asyncio.create_task(settling, name="sync")
        stopping = asyncio.create_task(self._stopping.wait(), name="sync-stop")
        try:
            await asyncio.wait([work, stopping], return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise CdcError("the daemon is stopping")
            await work
        finally:
            for task in (work, stopping):
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task


def _outcome(watch: KeyWatch, labels: Mapping[Key, Sequence[str]]) -> SyncOutcome:
    outcome = SyncOutcome()
    for key, result in watch.results.items():
        outcome.indexed += result.count(Outcome.INDEXED)
        outcome.deleted += result.count(Outcome.DELETED)
        outcome.missing += result.count(Outcome.DELETED, existed=False)
        if key in watch.open:
            continue
        failures = result.failures
        for label in labels[key]:
            outcome.settled[label] = not failures and outcome.settled.get(label, True)
            if failures:
                outcome.failures[label] = "; ".join(failures[:10])
    return outcome


def _not_settled(trouble: Trouble, outcome: SyncOutcome) -> NotSettledError:
    message = trouble.reason if trouble.alias else f"{trouble.service} is away or too slow: {trouble.reason}"
    return NotSettledError(message, service=trouble.service, alias=trouble.alias, outcome=outcome)
