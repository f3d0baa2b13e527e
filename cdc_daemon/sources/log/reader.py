"""Reads the segments in `cdc_raw`, oldest first, and submits their signals to the pipeline."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import structlog

from cdc_daemon.commitlog.descriptor import START, Position
from cdc_daemon.commitlog.encryption import Keyring
from cdc_daemon.commitlog.keys import KeyBatch
from cdc_daemon.model.backoff import Backoff
from cdc_daemon.model.errors import CdcError, CommitLogError
from cdc_daemon.sources.log.checkpoint import CheckpointKeeper
from cdc_daemon.sources.log.lifecycle import Evidence, is_resting
from cdc_daemon.sources.log.losses import LossRecorder
from cdc_daemon.sources.log.ports import Division, Executor, SignalSink, TailObserver, TailOptions
from cdc_daemon.sources.log.segment_reader import SegmentReader
from cdc_daemon.sources.log.segments import TrackedSegment, TrackedSegments
from cdc_daemon.sources.log.signals import count_scopes, signals_of
from cdc_daemon.sources.log.tables import KnownTables

log = structlog.get_logger(__name__)

T = TypeVar("T")

_BEAT = 1.0
"""Seconds between two heartbeats while waiting for the pipeline or for Cassandra's schema."""

_FEW_BYTES = 16 * 1024
"""The most bytes of a section that are decoded on the event loop: a millisecond of work in pure Python."""

_RETRY = 5.0
"""Seconds until the next attempt to read a segment after the system denied it."""


class LogReader:
    """Reads tracked segments, oldest first, and submits their signals.

    With a `division` only this node's own changes become signals; the others are left to other daemons.
    Each portion has one receipt. A portion is consumed only after all its signals are submitted and all its unreadable
    entries are stored durably. So if the reader is interrupted, it reads the portion again.

    When Cassandra crashes, it may lose its last acknowledged writes, although reads returned them before the crash.
    So a segment that was being read at the crash is read again from its beginning after the replay. Each of its rows is
    read again, which corrects documents that were ahead of Cassandra.
    """

    def __init__(
        self,
        segments: TrackedSegments,
        *,
        sink: SignalSink,
        keeper: CheckpointKeeper,
        tables: KnownTables,
        losses: LossRecorder,
        options: TailOptions,
        observer: TailObserver,
        executor: Executor,
        beat: Callable[[str], None],
        furthest: Position = START,
        keyring: Keyring | None = None,
        division: Division | None = None,
    ) -> None:
        self._division = division
        self._segments = segments
        self._sink = sink
        self._keeper = keeper
        self._tables = tables
        self._losses = losses
        self._options = options
        self._observer = observer
        self._executor = executor
        self._beat = beat
        self._keyring = keyring
        self._stopping = False
        self._furthest = furthest

    def stop(self) -> None:
        """Stop before the next portion."""
        self._stopping = True

    async def read_all(self) -> bool:
        """Read the new data of every segment; return whether there was any."""
        self._beat("tail")
        progressed = False
        for segment in self._segments:
            if self._furthest == START:
                await self._advance_checkpoint_to(segment)
            if self._stopping:
                break
            if self._is_worth_reading(segment):
                progressed = await self._read(segment) or progressed
        return progressed

    def _is_worth_reading(self, segment: TrackedSegment) -> bool:
        if segment.complete or segment.error is not None:
            return False
        if segment.reader is None and (segment.gone or segment.retry_at > time.monotonic()):
            return False
        if segment.rested is not None and segment.file.active and not segment.gone:
            return segment.look_at <= time.monotonic()
        if segment.rested is not None:
            return segment.rested != _appearance(segment, self._segments.evidence(segment))
        return segment.ended is None or segment.ended != self._ending(segment) or not segment.is_blank

    def _ending(self, segment: TrackedSegment) -> tuple[Evidence, bool, bool]:
        """Return all that decides what follows at the end of a segment, besides its own bytes."""
        evidence = self._segments.evidence(segment)
        return evidence, segment.file.has_index, self._segments.newer_begun(segment)

    async def _read(self, segment: TrackedSegment) -> bool:
        segment.reading = True
        try:
            return await self._read_portions(segment)
        except OSError as error:
            segment.close()
            segment.retry_at = time.monotonic() + _RETRY
            if not isinstance(error, FileNotFoundError):
                log.warning(
                    "tail.segment_not_readable",
                    segment=segment.file.name,
                    error=str(error),
                    retry_in_seconds=_RETRY,
                    hint=f"let the daemon's user read the files in {segment.file.path.parent}; check its disk",
                )
            return False
        except CommitLogError as error:
            # The header may be written long after the file is created, so this can fail after opening too.
            segment.close()
            segment.error = error
            await self._beating(self._losses.unreadable(segment, [error]))
            return False
        finally:
            segment.reading = False

    async def _read_portions(self, segment: TrackedSegment) -> bool:
        reader = segment.reader or await self._open(segment)
        segment.rested = segment.ended = None
        progressed = False
        while not self._stopping:
            evidence = self._segments.evidence(segment)
            found = await self._fetch(reader, evidence)
            self._segments.note_begun(segment)
            if damages := reader.take_damages():
                await self._beating(self._losses.unreadable(segment, damages))
            if not found:
                ending = self._ending(segment)
                await self._end_of(segment, reader, evidence)
                if ending[0] == evidence:
                    segment.ended = ending
                break
            portion = await self._decode(reader)
            if portion.end == portion.start:
                # An entry there may be a write in progress, so its bytes may change.
                reader.look_again()
                break
            await self._hand_over(segment, portion, reader)
            reader.advance(portion)
            segment.position = reader.position
            progressed = True
        return progressed

    async def _open(self, segment: TrackedSegment) -> SegmentReader:
        file, position = segment.file, segment.position
        segment.reader = await self._executor(lambda: SegmentReader(file, position=position, keyring=self._keyring))
        return segment.reader

    async def _fetch(self, reader: SegmentReader, evidence: Evidence) -> bool:
        stay_durable = not self._options.follow_markers
        if reader.is_close:
            # Writes since the last read are in the page cache, so this is faster than a thread.
            return reader.fetch(evidence, stay_durable=stay_durable)
        return await self._executor(lambda: reader.fetch(evidence, stay_durable=stay_durable))

    async def _decode(self, reader: SegmentReader) -> KeyBatch:
        """Decode a portion; refresh the schema once if the known one cannot decode all of it."""
        while True:
            decode = partial(
                reader.decode, self._tables.schema, limit=self._options.portion_mutations, only=self._tables.wanted
            )
            # A few changes are decoded faster than a thread is woken up.
            portion = decode() if reader.ahead <= _FEW_BYTES else await self._executor(decode)
            unresolved = self._tables.unresolved(portion)
            if not unresolved:
                return portion
            await self._beating(self._resolve(unresolved))

    async def _resolve(self, unresolved: set[bytes | str]) -> None:
        """Refresh the schema; retry until it succeeds, as entries that depend on it must not be skipped."""
        backoff = Backoff()
        while True:
            try:
                await self._tables.resolve(unresolved)
            except CdcError as error:
                delay = backoff.next()
                log.warning(
                    "tail.schema_unavailable", error=error.message, hint=error.hint, retry_in_seconds=round(delay, 3)
                )
                await asyncio.sleep(delay)
            else:
                return

    async def _hand_over(self, segment: TrackedSegment, portion: KeyBatch, reader: SegmentReader) -> None:
        if portion.problems:
            await self._beating(self._losses.unreadable(segment, portion.problems))
        if portion.unknown_tables:
            await self._beating(self._losses.unknown_tables(segment, portion.unknown_tables))
        divided = None
        if self._division is not None and portion.updates:
            divided = self._division.divide(portion.updates, reader.checksums(portion))
        signals = list(signals_of(portion.updates if divided is None else divided.own))
        unknown = sum(portion.unknown.values())
        if unknown:
            self._observer.passed_over("unknown_table", unknown)
        if portion.skipped > unknown:
            self._observer.passed_over("unmapped", portion.skipped - unknown)
        found = Counter((signal.table, signal.scope.value) for signal in signals)
        if divided is not None:
            found.update(count_scopes(divided.left))
        if found:
            segment.holds_cdc = True
            for (table, scope), count in found.items():
                self._observer.read(table, scope, count)
        elif not segment.holds_cdc:
            # A checkpoint in a segment means that it holds CDC data: see `gap`.
            return
        position = Position(segment.id, portion.end)
        receipt = await self._beating(self._keeper.open(position))
        segment.sequence = self._keeper.opened
        self._furthest = max(self._furthest, position)
        own = receipt if divided is None else divided.accept(receipt)
        if signals:
            await self._beating(self._sink.submit(signals, own))
        if own is not receipt:
            own.release()
        receipt.release()

    async def _end_of(self, segment: TrackedSegment, reader: SegmentReader, evidence: Evidence) -> None:
        """Complete a segment at its end, read it again after a crash of Cassandra, or put it to rest."""
        if not reader.at_end:
            return
        if evidence.closed and segment.may_be_ahead and segment.file.replayed:
            log.info(
                "tail.segment_repeated",
                segment=segment.file.name,
                reason=_why_repeated(segment),
            )
            segment.close()
            segment.may_be_ahead = False
            segment.position = 0
        elif evidence.closed:
            segment.position = reader.end
            segment.close()
            await self._advance_checkpoint_past(segment)
            segment.complete = True
        if segment.reader is None:
            return
        newer_begun = self._segments.newer_begun(segment)
        if is_resting(segment.file, at_end=True, newer_begun=newer_begun) and not segment.gone:
            if segment.file.is_moved:
                # It stays open: looking at its end costs one read, and opening it again reads all its markers.
                segment.look_at = time.monotonic() + self._options.rest_interval
                segment.position = reader.end
            else:
                segment.close()
            segment.rested = _appearance(segment, evidence)
            await self._advance_checkpoint_past(segment)

    async def _advance_checkpoint_past(self, segment: TrackedSegment) -> None:
        """Move the checkpoint to the beginning of the next segment, as this one was read to its end."""
        following = self._segments.next_after(segment)
        if following is not None and await self._advance_checkpoint_to(following):
            segment.sequence = self._keeper.opened

    async def _advance_checkpoint_to(self, segment: TrackedSegment) -> bool:
        """Move the checkpoint to the beginning of a segment, unless it is already further."""
        position = Position(segment.id, 0)
        if position <= self._furthest or segment.position > 0:
            return False
        receipt = await self._beating(self._keeper.open(position))
        self._furthest = position
        receipt.release()
        return True

    async def _beating(self, work: Awaitable[T]) -> T:
        """Wait for other work; send heartbeats meanwhile to show that the tail is alive."""
        beats = _Heartbeats(partial(self._beat, "tail"))
        try:
            return await work
        finally:
            beats.cancel()


class _Heartbeats:
    """Calls `beat` at once and then every second until cancelled. A task for each wait costs more than the wait."""

    def __init__(self, beat: Callable[[], None]) -> None:
        self._beat = beat
        self._loop = asyncio.get_running_loop()
        self._timer = self._next()

    def cancel(self) -> None:
        """Stop."""
        self._timer.cancel()

    def _next(self) -> asyncio.TimerHandle:
        self._beat()
        return self._loop.call_later(_BEAT, self._again)

    def _again(self) -> None:
        self._timer = self._next()


def _why_repeated(segment: TrackedSegment) -> str:
    if segment.file.is_moved:
        return "Cassandra was started again since: if it crashed, documents may show writes that it lost"
    return "Cassandra crashed while it was read: documents may show writes that Cassandra lost"


def _appearance(segment: TrackedSegment, evidence: Evidence) -> tuple[bool, bool]:
    """Return the state that must change before a resting segment is read again."""
    return segment.file.has_index, evidence.closed
