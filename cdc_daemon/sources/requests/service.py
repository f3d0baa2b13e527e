"""Forced sync: read each requested row from Cassandra now and write it to Elasticsearch before the answer."""

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
    InvalidIdError,
    NotSettledError,
    SuspendedObjectTypeError,
    UnknownObjectTypeError,
)
from cdc_daemon.sources.requests.ids import IdParser, RequestedId
from cdc_daemon.sources.requests.outcome import KeyResult, SyncOutcome
from cdc_daemon.sources.requests.refresh import Refresh
from cdc_daemon.sources.requests.waiting import RequestedKeys

WINDOW = 1500
"""Most keys of one request in flight: enough for the urgent workers' batches and one more. A request for a single id
thus never waits behind all the thousands of another request."""


_SUSPICIOUS_SECONDS = 1.0
"""A server that delays a batch by this long, or by a quarter of the request's time, is the cause of its timeout."""


class Requested(Protocol):
    """The part of the pipeline that a request needs."""

    def request(self, signals: Iterable[Signal], watch: Watch) -> None:
        """Accept signals without waiting; report the outcome of each key to the watch."""
        ...

    def withdraw(self, keys: Iterable[Key]) -> None:
        """Forget keys that no caller waits for."""
        ...


class Refreshing(Protocol):
    """Makes writes visible to searches."""

    async def refresh(self, alias: str, when: Refresh) -> None:
        """Wait until searches see everything written before this call."""
        ...


class Health(Protocol):
    """The known state of the servers."""

    def trouble(self, alias: str) -> Trouble | None:
        """Return why no row can be read or an alias cannot be written; None while no problem is known."""
        ...

    async def wait_unreadable(self) -> str:
        """Wait until Cassandra is unavailable; return why."""
        ...

    def suspicion(self, at_least: float, keys: Collection[Key]) -> Trouble | None:
        """Return which server delays workers, by `at_least` seconds or by a failure; check `keys` first."""
        ...


class SyncService:
    """Reads and writes the rows that requests name, ahead of the pipeline's other work.

    `held` maps each object type with a mapping that does not fit its table at present to the reason.
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
        self._identifiers = {mapping.name: IdParser(settings[mapping.name], mapping.table) for mapping in listed}

    @property
    def object_types(self) -> Sequence[str]:
        """The object types that requests may name."""
        return sorted(self._aliases)

    @property
    def held(self) -> Mapping[str, str]:
        """The object types with mappings that do not fit their tables at present, and the reasons."""
        return self._held

    def read_ids(self, object_type: str, ids: Sequence[Any]) -> list[RequestedId]:
        """Parse ids.

        Raises `UnknownObjectTypeError`, `SuspendedObjectTypeError` and `InvalidIdError`.
        """
        identifiers = self._identifiers.get(object_type)
        if object_type in self._held:
            raise SuspendedObjectTypeError(object_type, self._held[object_type])
        if identifiers is None:
            raise UnknownObjectTypeError(object_type, self._identifiers)
        return identifiers.read(ids)

    async def read(self, object_type: str, ids: Sequence[Any]) -> list[RequestedId]:
        """Parse ids as `read_ids` does, slice by slice. Raises the same errors."""
        asked: list[RequestedId] = []

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
        asked: Sequence[RequestedId],
        *,
        seconds: float | None = None,
        refresh: Refresh = Refresh.NO,
    ) -> SyncOutcome:
        """Read each id's rows after this call; then write or delete their documents, or store dead letters.

        Raises `NotSettledError` when that takes longer than `seconds` (None: no limit), when the type's alias takes no
        writes, and when the daemon stops meanwhile. With `seconds` it also raises when Elasticsearch is known to be
        unavailable before the call, and when Cassandra is, or becomes, unavailable.
        """
        alias = self._aliases[object_type]
        wanted = await _by_key(asked)
        watch = RequestedKeys(alias)
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
        """Reject new requests and end those in flight: the pipeline is about to stop."""
        self._stopping.set()

    async def _settle(self, watch: RequestedKeys, wanted: Mapping[Key, RequestedId]) -> None:
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
        """Wait for the work until the daemon stops or, unless it `waits_long`, Cassandra becomes unavailable."""
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
            # Awaiting them directly would confuse their cancellation with this task's own, which would then be lost.
            await asyncio.gather(work, stopping, losing, return_exceptions=True)


class _Wanted(NamedTuple):
    """The keys of a request: the first label of each, and further labels of the same keys."""

    first: Mapping[Key, RequestedId]
    aliases: Mapping[Key, Sequence[str]]

    def labels(self, key: Key) -> Iterable[str]:
        return self.first[key].label, *self.aliases.get(key, ())


async def _by_key(asked: Sequence[RequestedId]) -> _Wanted:
    first: dict[Key, RequestedId] = {}
    aliases: dict[Key, list[str]] = {}

    def add(_start: int, part: Sequence[RequestedId]) -> None:
        for each in part:
            if first.setdefault(each.key, each) is not each:
                aliases.setdefault(each.key, []).append(each.label)

    await in_slices(asked, add)
    return _Wanted(first, aliases)


async def _outcome(watch: RequestedKeys, wanted: _Wanted) -> SyncOutcome:
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
