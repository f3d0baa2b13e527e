"""Builds and writes the documents of rows that were read, and finishes the work on their entries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from cdc_daemon.model.backoff import Backoff
from cdc_daemon.model.document_operation import DocumentOutcome, Operation, Outcome, Result, RowBuilder
from cdc_daemon.model.errors import Trouble
from cdc_daemon.model.reading import Row
from cdc_daemon.model.signal import Key
from cdc_daemon.model.version_clock import HybridClock
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.entry import Entry
from cdc_daemon.pipeline.giving_up import SUSPICIOUS, GiveUpPolicy
from cdc_daemon.pipeline.lifetimes import Lifetimes
from cdc_daemon.pipeline.ports import DocumentBuilder, Observer, SetAsideDocuments, Suspects, Writer
from cdc_daemon.pipeline.routing import Router
from cdc_daemon.pipeline.row_batch import BuiltDocuments, ReadRows, RowBatch, Written
from cdc_daemon.pipeline.server_waits import ServerWaits
from cdc_daemon.pipeline.troubled import Troubled
from cdc_daemon.store.dead_letters import DeadLetter

SetAside = Callable[[Sequence[DeadLetter]], None]
"""Keeps dead letters durably; blocks for the commit, so it is called in a thread."""

BATCH_SIZE = 16 * 1024 * 1024
"""Bytes of documents that one batch should not exceed; each worker holds one batch."""

EXPECTED_DOCUMENT_SIZE = 16 * 1024
"""Bytes assumed for a document until some were built."""

_KEPT = (DocumentOutcome("", "", Outcome.DEAD, "table_dropped", "there is no such table any more"),)
"""Outcome reported for a key when its table was dropped and its documents are kept."""


class DocumentWriter:
    """Writes the documents of rows that were read, and acknowledges, parks or retries their entries.

    `builder` builds the documents of rows of existing tables. `set_aside` keeps documents that cannot be written.
    `dead` tracks the documents that were set aside earlier: when one is written after all, its letter is deleted.
    `policy` decides which documents to give up. `lifetimes` records when values of rows expire, `suspects` which
    documents a lost request may still write. `router` passes changes on to the documents that show them.
    `allowed_clock_difference` (µs) is how far another daemon's clock may correctly be ahead.
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
        policy: GiveUpPolicy,
        router: Router,
        lifetimes: Lifetimes,
        dead: SetAsideDocuments | None = None,
        server_waits: ServerWaits | None = None,
        suspects: Suspects | None = None,
        troubled: Troubled | None = None,
        allowed_clock_difference: int = 2_000_000,
    ) -> None:
        self._coalescer = coalescer
        self._clock = clock
        self._builder = builder
        self._writer = writer
        self._set_aside = set_aside
        self._observer = observer
        self._policy = policy
        self._router = router
        self._lifetimes = lifetimes
        self._dead = dead
        self._server_waits = server_waits or ServerWaits()
        self._suspects = suspects
        self._troubled = troubled or Troubled()
        self._allowed_clock_difference = allowed_clock_difference
        self._document_size = EXPECTED_DOCUMENT_SIZE

    @property
    def batch_limit(self) -> int:
        """Return how many rows may be processed together so that their documents stay within `BATCH_SIZE`."""
        return max(1, BATCH_SIZE // self._document_size)

    async def wait_available(self) -> None:
        """Wait while Elasticsearch is known to be unavailable."""
        await self._writer.wait_available()

    async def write(self, batch: RowBatch, rows: ReadRows, dropped: DocumentBuilder | None = None) -> None:
        """Write the documents of rows of a batch; a row on whose document Elasticsearch has failed often, alone.

        Pass `dropped` to build the operations of a dropped table. If it raises, for example `StoreError`, the
        entries that it has not finished are still open in the batch.
        """
        failing = [at for at, entry in enumerate(rows.entries) if entry.faults >= SUSPICIOUS]
        parts = [rows.without(failing), *(rows.only([at]) for at in failing)] if failing else [rows]
        for part in parts:
            if part.entries:
                await self._write(batch, part, dropped)

    async def _write(self, batch: RowBatch, rows: ReadRows, dropped: DocumentBuilder | None) -> None:
        built = self._build(batch, rows, dropped or self._builder)
        written = await self._send(rows, built)
        verdict = self._judge(built, written)
        await self._record(rows, built, verdict, dropped=dropped is not None)
        for entry in rows.entries:
            del batch.open[entry]
            if (cause := verdict.again.get(entry)) is not None:
                self._retry(entry, cause)
            elif (troubles := verdict.parked.get(entry)) is not None:
                self._park(entry, troubles, built.outcomes(entry))
            else:
                self._router.pass_on(entry)
                self._acknowledge(entry, built, dropped=dropped is not None)

    def _build(self, batch: RowBatch, rows: ReadRows, builder: DocumentBuilder) -> BuiltDocuments:
        build: RowBuilder = _no_documents
        if any(state.error is None for state in rows.reading.states):
            build = builder.of(batch.table, rows.reading.columns)
        built = BuiltDocuments(rows, build)
        self._note_sizes(built.operations)
        return built

    async def _send(self, rows: ReadRows, built: BuiltDocuments) -> Sequence[Written]:
        """Write the documents, keep the suspects, and return the results with their entries."""
        if not built.operations:
            return ()
        with self._server_waits.on("elasticsearch", rows.entries):
            if self._suspects is None:
                return built.match(await self._writer.write(built.operations))
            with self._suspects.writing():
                results = await self._writer.write(built.operations)
        written = built.match(results)
        await self._suspects.note(written)
        return written

    def _judge(self, built: BuiltDocuments, written: Sequence[Written]) -> _Verdict:
        """Decide what becomes of each entry, and give up documents for which a retry is useless."""
        again: dict[Entry, Result] = {}
        parked: dict[Entry, dict[str, Trouble]] = {}
        done: list[Written] = []
        for each in written:
            entry, operation, result = each
            if result.outcome is Outcome.REREAD:
                if self._policy.gives_up(entry, operation, result):
                    built.give_up(entry, operation, result)
                elif (trouble := self._trouble_of(operation)) is not None:
                    parked.setdefault(entry, {})[operation.alias] = trouble
                else:
                    again[entry] = result
                    self._note_version(entry, result)
            elif result.outcome is Outcome.SUPERSEDED and entry.watches:
                # The caller who asked for this key needs a write by its own read, even if a fresher document exists.
                again[entry] = result
            elif result.outcome is not Outcome.DEAD:
                self._policy.note_written(operation.alias)
                done.append(each)
        # A row that is read again is built and judged again: each document counts once, and has one letter.
        letters = [(entry, letter) for entry, letter in built.letters if entry not in again]
        return _Verdict(again, parked, [each for each in done if each.entry not in again], letters)

    async def _record(self, rows: ReadRows, built: BuiltDocuments, verdict: _Verdict, *, dropped: bool) -> None:
        """Store durably what has to be known before any entry is acknowledged, then count the documents."""
        shown = [(each.entry.key, each.operation.alias) for each in verdict.done]
        if not (built.operations or built.letters or dropped):  # only others' documents show rows of this table
            shown = [(entry.key, "") for entry in rows.entries]
        await self._lifetimes.keep(rows.entries, rows.reading)
        await self._keep(verdict.letters)
        await self._revive(shown)
        await self._router.record_changes(entry for entry in rows.entries if entry not in verdict.again)
        for entry, operation, result in verdict.done:
            self._observer.settled(entry.key.table, result.outcome.name.lower(), operation.alias)
        for entry, letter in verdict.letters:
            self._observer.settled(entry.key.table, "dead_lettered", letter.alias)

    async def _keep(self, letters: Sequence[tuple[Entry, DeadLetter]]) -> None:
        """Set documents aside. A document that was already set aside is retried periodically and counts once."""
        if letters:
            dead = self._dead
            new = [letter.reason for entry, letter in letters if dead is None or not dead.has(entry.key, letter.alias)]
            await asyncio.to_thread(self._set_aside, [letter for _, letter in letters])
            self._observer.set_aside(new)
            for entry, _ in letters:
                entry.note_set_aside()

    async def _revive(self, shown: Iterable[tuple[Key, str]]) -> None:
        """Delete the letters of documents that were written after all, by keys and aliases."""
        dead = self._dead
        revived = [] if dead is None else [each for each in shown if dead.has(*each)]
        if dead is not None and revived:
            await asyncio.to_thread(dead.revive, revived)

    def _retry(self, entry: Entry, cause: Result) -> None:
        self._observer.retried(cause.error_type or "reread", 1)
        entry.delay(Trouble("elasticsearch", cause.reason or cause.error_type or "it has to be read again"))
        self._coalescer.retry(entry, Backoff.delay(entry.attempts))

    def _park(self, entry: Entry, troubles: dict[str, Trouble], outcomes: Sequence[DocumentOutcome]) -> None:
        """Park an entry until its aliases recover; its other documents are written, and its change is passed on."""
        # They may take writes again by now, and then nothing would unpark the entry.
        troubles = self._troubled.among(troubles)
        if not troubles:
            self._coalescer.retry(entry, 0.0)
            return
        self._router.pass_on(entry)
        entry.changed = False
        self._coalescer.park(entry, troubles, outcomes)

    def _acknowledge(self, entry: Entry, built: BuiltDocuments, *, dropped: bool) -> None:
        outcomes = built.outcomes(entry)
        # A row that only other tables' documents show is measured when those documents are written.
        if not dropped and self._router.is_shown(entry.key.table):
            self._observer.shown(entry.key.table, entry.oldest)
        elif dropped and not built.operations:
            self._observer.settled(entry.key.table, "kept", "")
            outcomes = _KEPT
        self._coalescer.settle(entry, outcomes)

    def _trouble_of(self, operation: Operation) -> Trouble | None:
        return self._troubled.of(operation.alias) if self._troubled.any else None

    def _note_sizes(self, operations: Sequence[Operation]) -> None:
        """Update the estimated document size: up at once, so that memory stays bounded, and down slowly."""
        sizes = [len(operation.body) for operation in operations if operation.body is not None]
        if sizes:
            average = sum(sizes) // len(sizes) + 1
            self._document_size = max(average, (7 * self._document_size + average) // 8)

    def _note_version(self, entry: Entry, result: Result) -> None:
        """Raise the next version above the version seen (docs/guarantees.md, promise 4).

        A version that a correct clock can have issued advances our own clock, as in hybrid logical clocks. A version
        further ahead was written by a daemon whose clock was ahead, or by another program. It must not advance all
        other versions, and it does not prove a later read when the clock reaches it.
        """
        if result.seen_version is None:
            return
        if result.seen_version <= self._clock.wall() + self._allowed_clock_difference:
            self._clock.observe(result.seen_version)
        else:
            entry.minimum_version = result.seen_version + 1
            self._clock.distrust(result.seen_version)


class _Verdict(NamedTuple):
    """The judgement on a batch of results.

    `again` are the entries to read again, each with the reason, and `parked` those that wait for aliases. `done` are
    the final results of all others, `letters` their documents that cannot be written.
    """

    again: dict[Entry, Result]
    parked: dict[Entry, dict[str, Trouble]]
    done: list[Written]
    letters: list[tuple[Entry, DeadLetter]]


def _no_documents(_key: Key, _row: Row | None, _version: int, _read_at: float) -> Sequence[Operation]:
    """Return no operations: no row could be read, so the columns are not known."""
    return ()
