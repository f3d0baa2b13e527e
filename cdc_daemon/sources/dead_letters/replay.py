"""Replays dead letters: reads their rows again, and deletes the letters whose rows are then indexed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import structlog

from cdc_daemon.commitlog.keys import read_mutation_keys
from cdc_daemon.commitlog.schema import TableMetadata
from cdc_daemon.model.document_operation import DocumentOutcome, Outcome
from cdc_daemon.model.errors import CdcError, Trouble
from cdc_daemon.model.signal import Key, Scope, Signal, TableName
from cdc_daemon.sources.log.ports import NamedTables
from cdc_daemon.sources.log.signals import signals_of
from cdc_daemon.sources.requests.service import PipelineRequests
from cdc_daemon.store.dead_letter_filter import EVERYTHING, DeadLetterFilter
from cdc_daemon.store.dead_letters import DOCUMENT, PARTITION, DeadLetter, DeadLetters

log = structlog.get_logger(__name__)

WINDOW = 1000
"""Maximum keys of a replay in flight, so that requests for rows do not wait behind it."""

MOST_AT_ONCE = 1000
"""Maximum number of letters replayed by one call. Their payloads, up to 16 MiB each, are read one by one."""

_OF_ROWS = frozenset((DOCUMENT, PARTITION))
"""Kinds of letters that name a row or a partition: they are deleted as soon as it is indexed."""


async def _never() -> str:
    await asyncio.Event().wait()
    raise AssertionError("nobody sets this event")


class KnownSchema(Protocol):
    """The known tables."""

    @property
    def current(self) -> NamedTables:
        """All tables, with their earlier generations."""
        ...


class ReplayOutcome(Enum):
    """The outcome of replaying a letter."""

    REPLAYED = "replayed"
    """The current rows are indexed; the letter is deleted."""

    FAILED = "failed"
    """The letter stays, with the reason of this attempt."""

    WAITING = "waiting"
    """The replay timed out, or a row cannot be written now; the letter stays unchanged."""


@dataclass(frozen=True, slots=True)
class ReplayedLetter:
    """One replayed letter; `reason` and `message` explain why a letter that stays was not removed."""

    id: int
    outcome: ReplayOutcome
    reason: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """The letters replayed by one call, oldest first. `more` is true if further letters match."""

    letters: Sequence[ReplayedLetter]
    more: bool

    def count(self, outcome: ReplayOutcome) -> int:
        """Count the letters with this outcome."""
        return sum(letter.outcome is outcome for letter in self.letters)


class Replayer:
    """Replays letters through the pipeline.

    The row of a document, and each row of a partition, is read again and processed like any other row. A mutation is
    decoded with the current schema, and its rows are processed. A damaged or missing part of a segment cannot be read;
    a reconcile of its tables repairs its changes. A letter that counts several mutations contains only the first one:
    once its table is known, `reconcile` durably requests a reconcile of the whole table.

    `shown` are the tables whose rows any document shows. `unreadable` returns the reason when Cassandra is
    unavailable; a replay then stops waiting.
    """

    def __init__(
        self,
        pipeline: PipelineRequests,
        letters: DeadLetters,
        *,
        schema: KnownSchema,
        shown: Container[TableName],
        reconcile: Callable[[TableName], Awaitable[None]],
        unreadable: Callable[[], Awaitable[str]] = _never,
    ) -> None:
        self._pipeline = pipeline
        self._letters = letters
        self._schema = schema
        self._shown = shown
        self._unreadable = unreadable
        self._reconcile = reconcile

    async def replay(
        self, wanted: DeadLetterFilter = EVERYTHING, *, limit: int = MOST_AT_ONCE, seconds: float = 30.0
    ) -> ReplayResult:
        """Replay the oldest `limit` wanted letters; wait for at most `seconds`. Raises `StoreError`."""
        found = await asyncio.to_thread(
            lambda: list(self._letters.list(wanted=wanted, limit=limit + 1, oldest_first=True))
        )
        return ReplayResult(await self.replay_letters(found[:limit], seconds=seconds), more=len(found) > limit)

    async def replay_one(self, identity: int, *, seconds: float = 30.0) -> ReplayedLetter | None:
        """Replay one letter; return None if no letter has this id. Raises `StoreError`."""
        letter = await asyncio.to_thread(self._letters.get, identity)
        if letter is None:
            return None
        (replayed,) = await self.replay_letters([letter], seconds=seconds)
        return replayed

    async def replay_letters(self, letters: Sequence[DeadLetter], *, seconds: float = 30.0) -> list[ReplayedLetter]:
        """Replay stored letters; wait for at most `seconds`. Raises `StoreError`."""
        ended: dict[int, ReplayedLetter] = {}
        signals: dict[int, Sequence[Signal]] = {}
        for letter in letters:
            identity = _id(letter)
            try:
                signals[identity] = self._signals(letter)
            except _CannotBeReplayedError as error:
                ended[identity] = ReplayedLetter(identity, ReplayOutcome.FAILED, error.reason, str(error))
        watch = _ReplayedKeys()
        try:
            requested = {Key.of(each): each for several in signals.values() for each in several}
            await self._process_within(seconds, requested, watch)
        finally:
            watch.closed = True
            self._pipeline.withdraw(watch.open)
        replayed_ids = []
        for letter in letters:
            identity = _id(letter)
            if identity in signals:
                ended[identity] = _outcome_of(letter, [Key.of(each) for each in signals[identity]], watch)
                if ended[identity].outcome is ReplayOutcome.REPLAYED and letter.kind not in _OF_ROWS:
                    replayed_ids.append(identity)  # letters of rows were deleted when the rows were written
                    if letter.count > 1:
                        for table in {signal.table for signal in signals[identity]}:
                            await self._reconcile(table)
        await asyncio.to_thread(self._letters.remove, replayed_ids)
        for letter in letters:
            if letter.kind != "segment" and (failure := ended[_id(letter)]).outcome is ReplayOutcome.FAILED:
                await asyncio.to_thread(self._count_failure, letter, failure)
        replayed = sum(each.outcome is ReplayOutcome.REPLAYED for each in ended.values())
        log.info("dead_letters.replayed", replayed=replayed, left=len(letters) - replayed)
        return [ended[_id(letter)] for letter in letters]

    def _count_failure(self, letter: DeadLetter, failure: ReplayedLetter) -> None:
        """Count a failure for which the pipeline stored no letter, such as a missing mapping or a dropped table."""
        detail = {**letter.detail, "message": failure.message or letter.detail.get("message")}
        self._letters.failed_again(letter, failure.reason or letter.reason, detail)

    def _signals(self, letter: DeadLetter) -> Sequence[Signal]:
        if letter.kind in _OF_ROWS:
            table = TableName(letter.keyspace or "", letter.table or "")
            if table not in self._shown:
                raise _CannotBeReplayedError("unmapped", f"no mapping shows the table {table} any more")
            key = letter.partition_key or b""
            clustering = None if letter.kind == PARTITION else tuple(letter.clustering or ())
            now = self._schema.current.find(*table)
            if now is not None and not now.takes_key(key, clustering):
                raise _CannotBeReplayedError(
                    "another_key", f"the table {table} was created again with another primary key: drop the letter"
                )
            return [Signal(table, key, Scope.STATIC if clustering is None else Scope.ROW, clustering or ())]
        if letter.kind != "mutation" or letter.payload is None:
            raise _CannotBeReplayedError(
                letter.reason,
                "it cannot be decoded: the daemon reconciles its tables instead; drop the letter when "
                "`cdc-daemon check` no longer shows state.reconcile",
            )
        try:
            updates, unknown = read_mutation_keys(letter.payload, self._schema.current)
        except CdcError as error:
            raise _CannotBeReplayedError(type(error).__name__, error.message) from error
        if unknown:
            raise _CannotBeReplayedError("UnknownTableError", f"the table {unknown[0].hex()} is still not known")
        wanted = [update for update in updates if self._is_wanted(update.table)]
        return list(signals_of(wanted))

    def _is_wanted(self, table: TableMetadata) -> bool:
        """Return whether documents use a table. A previous generation with another primary key has nothing to index."""
        now = self._schema.current.find(table.keyspace, table.name)
        return TableName(table.keyspace, table.name) in self._shown and (now is None or now.has_key_of(table))

    async def _process_within(self, seconds: float, signals: Mapping[Key, Signal], watch: _ReplayedKeys) -> None:
        """Wait for the keys for at most `seconds`; stop waiting when Cassandra is unavailable."""
        processing = asyncio.ensure_future(self._process(signals, watch))
        losing = asyncio.ensure_future(self._unreadable())
        try:
            await asyncio.wait([processing, losing], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if processing.done():
                await processing
            elif losing.done():
                watch.trouble = Trouble("cassandra", losing.result())
        finally:
            for each in (processing, losing):
                each.cancel()
            await asyncio.gather(processing, losing, return_exceptions=True)

    async def _process(self, signals: Mapping[Key, Signal], watch: _ReplayedKeys) -> None:
        waiting = iter(signals.items())
        remaining = len(signals)
        while remaining or watch.open:
            room = min(WINDOW - len(watch.open), remaining)
            if room > 0:
                requested = dict(next(waiting) for _ in range(room))
                remaining -= room
                watch.open.update(requested)
                self._pipeline.request(requested.values(), watch)
            if watch.open:
                await watch.wait_progress()


class _CannotBeReplayedError(Exception):
    """A letter cannot be replayed: it names no row that can be read again."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class _ReplayedKeys:
    """Waits for keys, and collects the outcomes of their documents under all aliases."""

    def __init__(self) -> None:
        self.closed = False
        self.open: set[Key] = set()
        self.documents: dict[Key, Sequence[DocumentOutcome]] = {}
        self.trouble: Trouble | None = None
        self._progress = asyncio.Event()

    def settled(self, key: Key, documents: Sequence[DocumentOutcome]) -> None:
        if key in self.open:
            self.documents[key] = documents
            self.open.remove(key)
            self._progress.set()

    def delayed(self, _key: Key, trouble: Trouble) -> None:
        self.trouble = trouble

    def refused(self, key: Key, troubles: Mapping[str, Trouble], _documents: Sequence[DocumentOutcome]) -> None:
        if key in self.open:
            self.trouble = next(iter(troubles.values()))
            self.open.remove(key)
            self._progress.set()

    async def wait_progress(self) -> None:
        await self._progress.wait()
        self._progress.clear()


def _outcome_of(letter: DeadLetter, keys: Sequence[Key], watch: _ReplayedKeys) -> ReplayedLetter:
    identity = _id(letter)
    if any(key not in watch.documents for key in keys):
        trouble = watch.trouble or Trouble("daemon", "it takes longer")
        return ReplayedLetter(identity, ReplayOutcome.WAITING, trouble.service, trouble.reason)
    if letter.kind not in _OF_ROWS:
        return ReplayedLetter(identity, ReplayOutcome.REPLAYED)
    documents = [
        each for key in keys for each in watch.documents[key] if not letter.alias or each.alias in {letter.alias, ""}
    ]
    for each in documents:
        if each.outcome is Outcome.DEAD:
            return ReplayedLetter(identity, ReplayOutcome.FAILED, each.error_type, each.reason)
    if not documents and letter.alias:  # letters without an alias may have no documents
        return ReplayedLetter(
            identity, ReplayOutcome.FAILED, "unmapped", f"no mapping writes to {letter.alias} any more"
        )
    return ReplayedLetter(identity, ReplayOutcome.REPLAYED)


def _id(letter: DeadLetter) -> int:
    assert letter.id is not None, "a letter that was kept has an id"
    return letter.id
