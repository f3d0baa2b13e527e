"""Requests for rows by id: each row is read from Cassandra now and written to Elasticsearch before the response."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

from cdc_daemon.cassandra.availability import CassandraAvailability
from cdc_daemon.config.mapping import MappingSettings
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.errors import CassandraUnavailableError, CdcError, Trouble
from cdc_daemon.model.signal import Key, Signal
from cdc_daemon.model.slices import in_slices
from cdc_daemon.pipeline.handover import refusal_of
from cdc_daemon.pipeline.ports import Watch
from cdc_daemon.pipeline.server_waits import ServerWaits
from cdc_daemon.pipeline.troubled import Troubled
from cdc_daemon.search.swap_writer import SwapWriter
from cdc_daemon.sources.requests.errors import (
    InvalidIdError,
    SuspendedObjectTypeError,
    UnknownObjectTypeError,
)
from cdc_daemon.sources.requests.ids import IdParser, RequestedId
from cdc_daemon.sources.requests.outcome import (
    NotReplicatedError,
    RequestedKeys,
    SyncOutcome,
    distinct_keys,
    outcome_of,
)
from cdc_daemon.sources.requests.refresh import Refresh

WINDOW = 1500
"""Maximum number of keys of one request in flight: enough for the urgent workers' batches and one more. So a request
for a single id never waits for all keys of a large request."""

_SUSPICIOUS_SECONDS = 1.0
"""A server that delays a batch for so long, or for a quarter of the timeout, is reported as the cause of a timeout."""


class PipelineRequests(Protocol):
    """The part of the pipeline that processes requested keys."""

    def request(self, signals: Iterable[Signal], watch: Watch) -> None:
        """Accept signals without waiting; report the outcome of each key to the watch."""
        ...

    def withdraw(self, keys: Iterable[Key]) -> None:
        """Forget keys that no caller waits for."""
        ...


class IndexRefresher(Protocol):
    """Makes writes visible to searches."""

    async def refresh(self, alias: str, when: Refresh) -> None:
        """Wait until searches see everything written before this call."""
        ...


class ServerState(Protocol):
    """The known state of the servers."""

    def trouble(self, alias: str) -> Trouble | None:
        """Return why no row can be read or an alias cannot be written; None while no problem is known."""
        ...

    async def wait_unreadable(self) -> str:
        """Wait until Cassandra is unavailable; return why."""
        ...

    def suspicion(self, at_least: float, keys: Collection[Key]) -> Trouble | None:
        """Return the server that failed or delays workers by `at_least` seconds, preferably the workers of `keys`."""
        ...


class ServerHealth:
    """The servers as the pipeline sees them: whether they answer, and which one the workers wait for."""

    def __init__(
        self, cassandra: CassandraAvailability, writer: SwapWriter, waits: ServerWaits, troubled: Troubled
    ) -> None:
        self._cassandra = cassandra
        self._writer = writer
        self._waits = waits
        self._troubled = troubled

    def trouble(self, alias: str) -> Trouble | None:
        """Return why no row can be read or an alias cannot be written; None while no problem is known."""
        if self._cassandra.failure is not None:
            return Trouble("cassandra", self._cassandra.failure)
        if self._writer.available:
            return self._troubled.of(alias)
        failure = self._writer.failure
        return Trouble(
            "elasticsearch", "it is unavailable" if failure is None else f"{failure.error_type}: {failure.reason}"
        )

    async def wait_unreadable(self) -> str:
        """Wait until Cassandra is unavailable, that is, has not answered for some seconds; return the reason."""
        return await self._cassandra.wait_lost()

    def suspicion(self, at_least: float, keys: Collection[Key]) -> Trouble | None:
        """Return the server that failed or delays workers by `at_least` seconds, preferably the workers of `keys`."""
        return self._waits.trouble(at_least, keys)


class SyncService:
    """Replicates the requested rows, ahead of the pipeline's other work.

    `suspended` maps each object type whose mapping does not fit its table at present to the reason.
    """

    def __init__(
        self,
        pipeline: PipelineRequests,
        *,
        mappings: Iterable[DocumentMapping],
        settings: Mapping[str, MappingSettings],
        refresher: IndexRefresher,
        servers: ServerState,
        window: int = WINDOW,
        suspended: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._pipeline = pipeline
        self._refresher = refresher
        self._servers = servers
        self._window = window
        self._stopping = asyncio.Event()
        self._suspended = suspended
        listed = list(mappings)
        self._aliases = {mapping.name: mapping.alias for mapping in listed}
        self._parsers = {mapping.name: IdParser(settings[mapping.name], mapping.table) for mapping in listed}

    @property
    def object_types(self) -> Sequence[str]:
        """The object types that requests may name."""
        return sorted(self._aliases)

    @property
    def suspended(self) -> Mapping[str, str]:
        """The object types whose mappings do not fit their tables at present, with the reasons."""
        return self._suspended

    def parse_ids(self, object_type: str, ids: Sequence[Any]) -> list[RequestedId]:
        """Parse ids.

        Raises `UnknownObjectTypeError`, `SuspendedObjectTypeError` and `InvalidIdError`.
        """
        parser = self._parsers.get(object_type)
        if object_type in self._suspended:
            raise SuspendedObjectTypeError(object_type, self._suspended[object_type])
        if parser is None:
            raise UnknownObjectTypeError(object_type, self._parsers)
        return parser.parse(ids)

    async def parse(self, object_type: str, ids: Sequence[Any]) -> list[RequestedId]:
        """Parse ids as `parse_ids` does; other tasks run between slices of them. Raises the same errors."""
        parsed: list[RequestedId] = []

        def parse(start: int, part: Sequence[Any]) -> None:
            try:
                parsed.extend(self.parse_ids(object_type, part))
            except InvalidIdError as error:
                raise InvalidIdError(error.message, at=start + error.at, column=error.column) from None

        await in_slices(ids, parse)
        return parsed

    async def parse_valid(self, object_type: str, ids: Sequence[Any]) -> tuple[list[RequestedId], dict[int, str]]:
        """Parse the valid ids, and return why each of the others is invalid, by its index in the list.

        Raises `UnknownObjectTypeError` and `SuspendedObjectTypeError`.
        """
        parsed: list[RequestedId] = []
        invalid: dict[int, str] = {}

        def parse(start: int, part: Sequence[Any]) -> None:
            for at, identity in enumerate(part, start):
                try:
                    parsed.extend(self.parse_ids(object_type, [identity]))
                except InvalidIdError as error:
                    invalid[at] = f"{error.column}: {error.message}" if error.column else error.message

        await in_slices(ids, parse)
        return parsed, invalid

    async def replicate(
        self,
        object_type: str,
        requested: Sequence[RequestedId],
        *,
        seconds: float | None = None,
        refresh: Refresh = Refresh.NO,
    ) -> SyncOutcome:
        """Read each id's rows after this call; then write or delete their documents, or store dead letters.

        Raises `NotReplicatedError` when that takes longer than `seconds` (None: no limit), when the type's alias takes
        no writes, and when the daemon stops meanwhile. With `seconds` it also raises when Elasticsearch is known to
        be unavailable before the call, and when Cassandra is or becomes unavailable.
        """
        alias = self._aliases[object_type]
        keys = await distinct_keys(requested)
        watch = RequestedKeys(alias)
        trouble = self._servers.trouble(alias)
        if trouble is not None and (seconds is not None or trouble.alias is not None):
            raise _not_replicated(trouble, SyncOutcome())
        try:
            async with asyncio.timeout(seconds):
                await self._until_stop(self._process(watch, keys.first), waits_long=seconds is None)
                await self._refresher.refresh(alias, refresh)
        except TimeoutError:
            trouble = (
                self._servers.trouble(alias)
                or self._servers.suspicion(min(_SUSPICIOUS_SECONDS, (seconds or 0) / 4), watch.open)
                or watch.trouble
                or Trouble("daemon", "it takes longer")
            )
            raise _not_replicated(trouble, await outcome_of(watch, keys)) from None
        except CdcError as error:
            raise _not_replicated(watch.refusal or Trouble.of(error), await outcome_of(watch, keys)) from error
        finally:
            watch.closed = True
            self._pipeline.withdraw(watch.open)
        return await outcome_of(watch, keys)

    def stop(self) -> None:
        """Reject new requests and end those in flight, before the pipeline stops."""
        self._stopping.set()

    async def _process(self, watch: RequestedKeys, wanted: Mapping[Key, RequestedId]) -> None:
        def request(_start: int, keys: Sequence[Key]) -> None:
            watch.expect(keys)
            self._pipeline.request([wanted[key].signal for key in keys], watch)

        waiting = iter(wanted)
        remaining = len(wanted)
        while remaining or watch.open:
            room = min(self._window - len(watch.open), remaining)
            if room > 0:
                keys = [next(waiting) for _ in range(room)]
                remaining -= room
                await in_slices(keys, request)
            if watch.open:
                await watch.wait_progress()
            if watch.refusal is not None:
                raise refusal_of(watch.refusal)

    async def _until_stop(self, processing: Any, *, waits_long: bool) -> None:
        """Wait for the work until the daemon stops or, unless it `waits_long`, Cassandra becomes unavailable."""
        work = asyncio.create_task(processing, name="sync")
        stopping = asyncio.create_task(self._stopping.wait(), name="sync-stop")
        losing = asyncio.create_task(self._servers.wait_unreadable(), name="sync-cassandra")
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
            # Awaiting them directly would hide a cancellation of this task, which would then continue.
            await asyncio.gather(work, stopping, losing, return_exceptions=True)


def _not_replicated(trouble: Trouble, outcome: SyncOutcome) -> NotReplicatedError:
    message = trouble.reason if trouble.alias else f"{trouble.service} is unavailable or too slow: {trouble.reason}"
    return NotReplicatedError(message, service=trouble.service, alias=trouble.alias, outcome=outcome)
