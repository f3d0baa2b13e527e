"""Force: each row asked for is read from Cassandra now and settled in Elasticsearch before the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from cdc_daemon.config.mapping import MappingSettings
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.document_operation import Outcome
from cdc_daemon.model.errors import CassandraUnavailableError, CdcError
from cdc_daemon.model.key import Key
from cdc_daemon.model.signal import Signal
from cdc_daemon.model.slices import in_slices
from cdc_daemon.model.trouble import Trouble
from cdc_daemon.pipeline.handover import refusal_of
from cdc_daemon.pipeline.watch import Watch
from cdc_daemon.sources.requests.errors import (
    HeldObjectTypeError,
    InvalidIdError,
    NotSettledError,
    UnknownObjectTypeError,
)
from cdc_daemon.sources.requests.identifier import Asked, Identifiers
from cdc_daemon.sources.requests.outcome import KeyResult, SyncOutcome
from cdc_daemon.sources.requests.refresh import Refresh
from cdc_daemon.sources.requests.waiting import KeyWatch

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
        """Return why no row can be read, or nothing be written to an alias; None while nothing is known to be wrong."""
        ...

    async def wait_unreadable(self) -> str:
        """Wait until Cassandra is unavailable; return why."""
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

    async def read(self, object_type: str, ids: Sequence[Any]) -> list[Asked]:
        """Return what ids stand for, as `read_ids` does, slice by slice. Raises the same errors."""
        asked: list[Asked] = []

        def read(start: int, part: Sequence[Any]) -> None:
            try:
                asked.extend(self.read_ids(object_type, part))
            except InvalidIdError as error:
                raise InvalidIdError(error.message, at=start + error.at, column=error.column) from None

        await in_slices(ids, read)
        return asked

    async def settle(
        self,
        object_type: str,
        asked: Sequence[Asked],
        *,
        seconds: float | None = None,
        refresh: Refresh = Refresh.NO,
    ) -> SyncOutcome:
        """Settle each id: read after this call, then written, removed or set aside.

        Raises `NotSettledError` when that takes longer than `seconds` (None: however long it takes), when the type's
        alias takes no writes, and when the daemon stops meanwhile. With `seconds` it also raises when Elasticsearch is
        known to be unavailable before the call, and when Cassandra is, or becomes, unavailable.
        """
        alias = self._aliases[object_type]
        wanted = await _by_key(asked)
        watch = KeyWatch(alias)
        trouble = self._health.trouble(alias)
        if trouble is not None and (seconds is not None or trouble.alias is not None):
            raise _not_settled(trouble, SyncOutcome())
        try:
            async with asyncio.timeout(seconds):
                await self._until_stop(self._settle(watch, wanted.first), waits_long=seconds is None)
                await self._refresher.refresh(alias, refresh)
        except TimeoutError:
            trouble = (
                self._health.trouble(alias)
                or self._health.suspicion(min(_SUSPICIOUS_SECONDS, (seconds or 0) / 4), watch.open)
                or watch.trouble
                or Trouble("daemon", "it takes longer")
            )
            raise _not_settled(trouble, await _outcome(watch, wanted)) from None
        except CdcError as error:
            raise _not_settled(watch.refusal or Trouble.of(error), await _outcome(watch, wanted)) from error
        finally:
            watch.closed = True
            self._pipeline.withdraw(watch.open)
        return await _outcome(watch, wanted)

    def stop(self) -> None:
        """Take no more requests, and end those under way: the pipeline is about to stop."""
        self._stopping.set()

    async def _settle(self, watch: KeyWatch, wanted: Mapping[Key, Asked]) -> None:
        def request(_start: int, keys: Sequence[Key]) -> None:
            watch.expect(keys)
            self._pipeline.request([wanted[key].signal for key in keys], watch)

        waiting = iter(wanted)
        left = len(wanted)
        while left or watch.open:
            room = min(self._window - len(watch.open), left)
            if room > 0:
                keys = [next(waiting) for _ in range(room)]
                left -= room
                await in_slices(keys, request)
            if watch.open:
                await watch.wait_moved()
            if watch.refusal is not None:
                raise refusal_of(watch.refusal)

    async def _until_stop(self, settling: Any, *, waits_long: bool) -> None:
        """Wait for the work, but not past a stop of the daemon or, unless it `waits_long`, the loss of Cassandra."""
        work = asyncio.create_task(settling, name="sync")
        stopping = asyncio.create_task(self._stopping.wait(), name="sync-stop")
        losing = asyncio.create_task(self._health.wait_unreadable(), name="sync-cassandra")
        try:
            ends: list[asyncio.Task[Any]] = [work, stopping] if waits_long else [work, stopping, losing]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                await work
            elif stopping.done():
                raise CdcError("the daemon is stopping")
            else:
                raise CassandraUnavailableError(losing.result())
        finally:
            for task in (work, stopping, losing):
                task.cancel()
            # To await them would mix up their cancellation with one of this task, which then went on.
            await asyncio.gather(work, stopping, losing, return_exceptions=True)


class _Wanted(NamedTuple):
    """The keys of a request: what names each first, and what else the rows of some are called."""

    first: Mapping[Key, Asked]
    aliases: Mapping[Key, Sequence[str]]

    def labels(self, key: Key) -> Iterable[str]:
        return self.first[key].label, *self.aliases.get(key, ())


async def _by_key(asked: Sequence[Asked]) -> _Wanted:
    first: dict[Key, Asked] = {}
    aliases: dict[Key, list[str]] = {}

    def add(_start: int, part: Sequence[Asked]) -> None:
        for each in part:
            if first.setdefault(each.key, each) is not each:
                aliases.setdefault(each.key, []).append(each.label)

    await in_slices(asked, add)
    return _Wanted(first, aliases)


async def _outcome(watch: KeyWatch, wanted: _Wanted) -> SyncOutcome:
    outcome = SyncOutcome()

    def gather(_start: int, results: Sequence[tuple[Key, KeyResult]]) -> None:
        for key, result in results:
            outcome.indexed += result.count(Outcome.INDEXED)
            outcome.deleted += result.count(Outcome.DELETED)
            outcome.missing += result.count(Outcome.DELETED, existed=False)
            if key in watch.open:
                continue
            failures = result.failures
            for label in wanted.labels(key):
                outcome.settled[label] = not failures and outcome.settled.get(label, True)
                if failures:
                    outcome.failures[label] = "; ".join(failures[:10])

    await in_slices(list(watch.results.items()), gather)
    return outcome


def _not_settled(trouble: Trouble, outcome: SyncOutcome) -> NotSettledError:
    message = trouble.reason if trouble.alias else f"{trouble.service} is away or too slow: {trouble.reason}"
    return NotSettledError(message, service=trouble.service, alias=trouble.alias, outcome=outcome)
