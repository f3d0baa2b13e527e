"""Builds and writes the documents of rows that were read, and settles their entries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from cdc_daemon.model.backoff import Backoff
from cdc_daemon.model.clock import HybridClock
from cdc_daemon.model.document_operation import Operation, Outcome, Result, RowBuilder
from cdc_daemon.model.key import Key
from cdc_daemon.model.reading import Reading, Row
from cdc_daemon.model.trouble import Trouble
from cdc_daemon.pipeline.batch import Batch
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.entry import Entry
from cdc_daemon.pipeline.giving_up import SUSPICIOUS, Poison
from cdc_daemon.pipeline.lifetimes import Lifetimes
from cdc_daemon.pipeline.ports import DeadDocuments, DocumentBuilder, Observer, Suspects, Writer
from cdc_daemon.pipeline.routing import Router
from cdc_daemon.pipeline.server_waits import Waits
from cdc_daemon.pipeline.troubled import Troubled
from cdc_daemon.pipeline.watch import DocumentOutcome
from cdc_daemon.store.dead_letters import DeadLetter

SetAside = Callable[[Sequence[DeadLetter]], None]
"""Keeps dead letters durably; blocks for the commit, so it is called in a thread."""

EXPECTED_DOCUMENT_SIZE = 16 * 1024
"""Bytes assumed for a document until some were built."""

_KEPT = (DocumentOutcome("", "", Outcome.DEAD, "table_dropped", "there is no such table any more"),)
"""Outcome reported for a key when its table was dropped and its documents are kept."""


class BatchWriter:
    """Writes the documents of rows that were read together, and settles their entries or returns them for a retry.

    The arguments are those of `Settlement`; `builder` builds the documents of rows of existing tables.
    """

    def __init__(
        self,
        *,
        coalescer: Coalescer,
        clock: HybridClock,
        builder: DocumentBuilder,
        writer: Writer,
        set_aside: SetAside,
        observer: Observer,
        poison: Poison,
        router: Router,
        dead: DeadDocuments | None,
        lifetimes: Lifetimes,
        waits: Waits,
        suspects: Suspects | None,
        troubled: Troubled,
        allowed_clock_difference: int,
    ) -> None:
        self._coalescer = coalescer
        self._clock = clock
        self._builder = builder
        self._writer = writer
        self._set_aside = set_aside
        self._observer = observer
        self._poison = poison
        self._router = router
        self._dead = dead
        self._lifetimes = lifetimes
        self._waits = waits
        self._suspects = suspects
        self._troubled = troubled
        self._allowed_clock_difference = allowed_clock_difference
        self._document_size = EXPECTED_DOCUMENT_SIZE

    @property
    def document_size(self) -> int:
        """Return the estimated size of a document in bytes, from those written recently."""
        return self._document_size

    async def write(
        self,
        entries: Sequence[Entry],
        reading: Reading,
        open_entries: dict[Entry, None],
        builder: DocumentBuilder | None = None,
    ) -> None:
        """Write the documents of entries of one table, aligned with the states of their reading; suspicious ones alone.

        Settled and pending entries are removed from `open_entries`. If it raises, for example `StoreError`, the caller
        keeps the remaining entries. Pass `builder` if the table was dropped.
        """
        suspicious = [at for at, entry in enumerate(entries) if entry.faults >= SUSPICIOUS]
        if not suspicious:
            await self._write_together(entries, reading, open_entries, builder)
            return
        usual = [at for at, entry in enumerate(entries) if entry.faults < SUSPICIOUS]
        for part in (usual, *([at] for at in suspicious)):
            chosen = reading._replace(states=[reading.states[at] for at in part])
            await self._write_together([entries[at] for at in part], chosen, open_entries, builder)

    async def _write_together(
        self,
        entries: Sequence[Entry],
        reading: Reading,
        open_entries: dict[Entry, None],
        builder: DocumentBuilder | None,
    ) -> None:
        if not entries:
            return
        build: RowBuilder = _no_documents
        if any(state.error is None for state in reading.states):
            build = (builder or self._builder).of(entries[0].key.table, reading.columns)
        batch = Batch(entries, reading, build)
        self._note_sizes(batch.operations)
        verdict = self._sort_out(batch, await self._send(entries, batch))
        again, parked, done = verdict.again, verdict.parked, verdict.done
        # A row that is read again is built and judged again: each document counts once, and has one letter.
        letters = [(entry, letter) for entry, letter in batch.letters if entry not in again]
        await self._lifetimes.keep(entries, reading)
        await self._keep(letters)
        await self._revive(_shown(entries, batch, done, dropped=builder is not None))
        await self._router.keep_in_mind(entry for entry in entries if entry not in again)
        for entry, operation, result in done:
            self._observer.settled(entry.key.table, result.outcome.name.lower(), operation.alias)
        for entry, letter in letters:
            self._observer.settled(entry.key.table, "dead_lettered", letter.alias)
        for entry in entries:
            del open_entries[entry]
            if (cause := again.get(entry)) is not None:
                self._observer.retried(cause.error_type or "reread", 1)
                entry.delay(Trouble("elasticsearch", cause.reason or cause.error_type or "it has to be read again"))
                self._coalescer.retry(entry, Backoff.delay(entry.attempts))
            elif (troubles := parked.get(entry)) is not None:
                self._park(entry, batch, troubles)
            else:
                self._settle(entry, batch, dropped=builder is not None)

    async def _send(self, entries: Sequence[Entry], batch: Batch) -> Sequence[tuple[Entry, Operation, Result]]:
        """Write the documents of a batch, keep the suspects, and return the results with their entries."""
        if not batch.operations:
            return ()
        with self._waits.on("elasticsearch", entries):
            if self._suspects is None:
                return batch.judge(await self._writer.write(batch.operations))
            with self._suspects.writing():
                results = await self._writer.write(batch.operations)
        judged = batch.judge(results)
        await self._suspects.note(judged)
        return judged

    def _settle(self, entry: Entry, batch: Batch, *, dropped: bool) -> None:
        outcomes = batch.outcomes(entry)
        self._router.pass_on(entry)
        # A row that only other tables' documents show is measured when those documents are written.
        if not dropped and self._router.is_shown(entry.key.table):
            self._observer.shown(entry.key.table, entry.oldest)
        elif dropped and not batch.operations:
            self._observer.settled(entry.key.table, "kept", "")
            outcomes = _KEPT
        self._coalescer.settle(entry, outcomes)

    def _sort_out(self, batch: Batch, judged: Sequence[tuple[Entry, Operation, Result]]) -> _Verdict:
        """Sort the judged results of a batch, and give up documents for which a retry is useless."""
        again: dict[Entry, Result] = {}
        parked: dict[Entry, dict[str, Trouble]] = {}
        settled: list[tuple[Entry, Operation, Result]] = []
        for entry, operation, result in judged:
            if result.outcome is Outcome.REREAD:
                if self._poison.gives_up(entry, operation, result):
                    batch.give_up(entry, operation, result)
                elif (trouble := self._trouble_of(operation)) is not None:
                    parked.setdefault(entry, {})[operation.alias] = trouble
                else:
                    again[entry] = result
                    self._note_version(entry, result)
            elif result.outcome is Outcome.SUPERSEDED and entry.watches:
                # The caller who asked for this key needs a write by its own read, even if a fresher document exists.
                again[entry] = result
            elif result.outcome is not Outcome.DEAD:
                self._poison.note_written(operation.alias)
                settled.append((entry, operation, result))
        return _Verdict(again, parked, [each for each in settled if each[0] not in again])

    def _trouble_of(self, operation: Operation) -> Trouble | None:
        return self._troubled.of(operation.alias) if self._troubled.any else None

    def _park(self, entry: Entry, batch: Batch, troubles: dict[str, Trouble]) -> None:
        """Park an entry until its aliases recover, once its other documents are settled and its change is passed on."""
        troubles = self._troubled.among(troubles)  # they may take writes again by now, and nobody would wake it
        if not troubles:
            self._coalescer.retry(entry, 0.0)
            return
        self._router.pass_on(entry)
        entry.changed = False
        self._coalescer.park(entry, troubles, batch.outcomes(entry))

    async def _keep(self, letters: Sequence[tuple[Entry, DeadLetter]]) -> None:
        """Set documents aside. A document that was already set aside is retried periodically and counts once."""
        if letters:
            dead = self._dead
            new = [letter.reason for entry, letter in letters if dead is None or not dead.has(entry.key, letter.alias)]
            await asyncio.to_thread(self._set_aside, [letter for _, letter in letters])
            self._observer.set_aside(new)

    async def _revive(self, shown: Iterable[tuple[Key, str]]) -> None:
        """Delete the letters of documents that were written after all, by keys and aliases."""
        dead = self._dead
        revived = [] if dead is None else [each for each in shown if dead.has(*each)]
        if dead is not None and revived:
            await asyncio.to_thread(dead.revive, revived)

    def _note_sizes(self, operations: Sequence[Operation]) -> None:
        """Update the estimated document size: up at once, so that memory stays bounded, and down slowly."""
        sizes = [len(operation.body) for operation in operations if operation.body is not None]
        if sizes:
            average = sum(sizes) // len(sizes) + 1
            self._document_size = max(average, (7 * self._document_size + average) // 8)

    def _note_version(self, entry: Entry, result: Result) -> None:
        """Raise the next version above the version seen (docs/guarantees.md, promise 4).

        A version that a correct clock can have issued advances our own clock, as in hybrid logical clocks. A version
        further ahead was written by another program and must not advance all other versions.
        """
        if result.seen_version is None:
            return
        if result.seen_version <= self._clock.wall() + self._allowed_clock_difference:
            self._clock.observe(result.seen_version)
        else:
            entry.minimum_version = result.seen_version + 1


class _Verdict(NamedTuple):
    """Entries to read again, each with a reason; entries that wait for aliases; and the other, finished results."""

    again: dict[Entry, Result]
    parked: dict[Entry, dict[str, Trouble]]
    done: list[tuple[Entry, Operation, Result]]


def _shown(
    entries: Sequence[Entry], batch: Batch, done: Iterable[tuple[Entry, Operation, Result]], *, dropped: bool
) -> Iterator[tuple[Key, str]]:
    """Yield the documents that are up to date after a batch, by keys and aliases."""
    for entry, operation, _ in done:
        yield entry.key, operation.alias
    if not (batch.operations or batch.letters or dropped):  # only others' documents show rows of this table
        for entry in entries:
            yield entry.key, ""


def _no_documents(_key: Key, _row: Row | None, _version: int, _read_at: float) -> Sequence[Operation]:
    """Return no operations: no row could be read, so the columns are not known."""
    return ()
