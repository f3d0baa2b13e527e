"""What becomes of rows that were read: their documents are built and written, and their entries settled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from cdc_daemon.model.backoff import Backoff
from cdc_daemon.model.clock import HybridClock
from cdc_daemon.model.document_operation import Operation, Outcome, Result, RowBuilder, Write
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
"""Bytes a document is taken to have until some were built."""

_KEPT = (DocumentOutcome("", "", Outcome.DEAD, "table_dropped", "there is no such table any more"),)
"""What is told of a key whose table was dropped, and whose documents are kept."""


class BatchWriter:
    """Writes the documents of rows that were read together, and settles their entries or sends them round again.

    The parts are those of `Settlement`; `builder` makes the documents of rows whose table is there.
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
        """The bytes a document is taken to have, by those written lately."""
        return self._document_size

    async def write(
        self,
        entries: Sequence[Entry],
        reading: Reading,
        open_entries: dict[Entry, None],
        builder: DocumentBuilder | None = None,
    ) -> None:
        """Write the documents of entries of one table, aligned with the states of their reading; suspicious ones alone.

        An entry that is settled, or pending again, is taken out of `open_entries`; the others are the caller's when it
        raises, as where the store cannot keep what it has to. `builder` is given where the table was dropped.
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
        # What is read again is built and judged again: each document counts once, and has one letter.
        letters = [(entry, letter) for entry, letter in batch.letters if entry not in again]
        await self._lifetimes.keep(entries, reading)
        await self._keep(letters)
        await self._revive(_shown(entries, batch, done, dropped=builder is not None))
        await self._router.keep_in_mind(entry for entry in entries if entry not in again)
        for entry, operation, result in done:
            self._observer.settled(entry.key.table, result.outcome.name.lower(), operation.index)
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
        """Write the documents of a batch; return the results with their entries, after the suspects are kept."""
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
        # Of a row that only others' documents show, these tell when they are written.
        if not dropped and self._router.is_shown(entry.key.table):
            self._observer.shown(entry.key.table, entry.oldest)
        elif dropped and not batch.operations:
            self._observer.settled(entry.key.table, "kept", "")
            outcomes = _KEPT
        self._coalescer.settle(entry, outcomes)

    def _sort_out(self, batch: Batch, judged: Sequence[tuple[Entry, Operation, Result]]) -> _Verdict:
        """Sort the judged results of a batch, and give up what is useless to try again."""
        again: dict[Entry, Result] = {}
        parked: dict[Entry, dict[str, Trouble]] = {}
        settled: list[tuple[Entry, Operation, Result]] = []
        for entry, operation, result in judged:
            if result.outcome is Outcome.REREAD:
                if self._poison.gives_up(entry, operation, result):
                    batch.give_up(entry, operation, result)
                elif (trouble := self._trouble_of(operation)) is not None:
                    parked.setdefault(entry, {})[operation.index] = trouble
                else:
                    again[entry] = result
                    self._note_version(entry, result)
            elif result.outcome is Outcome.SUPERSEDED and entry.watches:
                # Who asked for this key wants it written by a read of their own, whoever wrote the fresher one.
                again[entry] = result
            elif result.outcome is not Outcome.DEAD:
                self._poison.note_written(operation.index)
                settled.append((entry, operation, result))
        return _Verdict(again, parked, [each for each in settled if each[0] not in again])

    def _trouble_of(self, operation: Operation) -> Trouble | None:
        return self._troubled.of(operation.index) if self._troubled.any else None

    def _park(self, entry: Entry, batch: Batch, troubles: dict[str, Trouble]) -> None:
        """Let an entry wait for aliases in trouble, when its other documents are settled and others' follow."""
        troubles = self._troubled.among(troubles)  # they may take writes again by now, and nobody would wake it
        if not troubles:
            self._coalescer.retry(entry, 0.0)
            return
        self._router.pass_on(entry)
        entry.changed = False
        self._coalescer.park(entry, troubles, batch.outcomes(entry))

    async def _keep(self, letters: Sequence[tuple[Entry, DeadLetter]]) -> None:
        """Set documents aside. One that was before is tried again from time to time: it counts once."""
        if letters:
            dead = self._dead
            new = [letter.reason for entry, letter in letters if dead is None or not dead.has(entry.key, letter.alias)]
            await asyncio.to_thread(self._set_aside, [letter for _, letter in letters])
            self._observer.set_aside(new)

    async def _revive(self, shown: Iterable[tuple[Key, str]]) -> None:
        """Forget the letters of what is shown after all, by keys and aliases."""
        dead = self._dead
        revived = [] if dead is None else [each for each in shown if dead.has(*each)]
        if dead is not None and revived:
            await asyncio.to_thread(dead.revive, revived)

    def _note_sizes(self, operations: Sequence[Operation]) -> None:
        """Follow the documents' size: up at once, so that memory stays bounded, and down slowly."""
        sizes = [len(operation.body) for operation in operations if operation.body is not None]
        if sizes:
            average = sum(sizes) // len(sizes) + 1
            self._document_size = max(average, (7 * self._document_size + average) // 8)

    def _note_version(self, entry: Entry, result: Result) -> None:
        """Make sure that the next write is above the version seen (architecture, promise 4).

        A version that an honest clock can have given out moves our own clock, as hybrid logical clocks
        do. One further ahead is somebody else's writing and must not drag all other versions along.
        """
        if result.seen_version is None:
            return
        if result.seen_version <= self._clock.wall() + self._allowed_clock_difference:
            self._clock.observe(result.seen_version)
        else:
            entry.minimum_version = result.seen_version + 1


class _Verdict(NamedTuple):
    """Entries to be read again, each with a reason; entries that wait for aliases; and what is done of the others."""

    again: dict[Entry, Result]
    parked: dict[Entry, dict[str, Trouble]]
    done: list[tuple[Entry, Operation, Result]]


def _shown(
    entries: Sequence[Entry], batch: Batch, done: Iterable[tuple[Entry, Operation, Result]], *, dropped: bool
) -> Iterator[tuple[Key, str]]:
    """Return what is shown after a batch, by keys and aliases."""
    for entry, operation, _ in done:
        yield entry.key, operation.index
    if not (batch.operations or batch.letters or dropped):  # only others' documents show rows of this table
        for entry in entries:
            yield entry.key, ""


def _no_documents(_key: Key, _row: Row | None) -> Sequence[Write]:
    """Build nothing, of rows none of which could be read: their columns are not known."""
    return ()
