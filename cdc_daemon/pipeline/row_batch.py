"""Rows on their way through the pipeline: those taken together, those read, and the documents built from them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from cdc_daemon.model.document_operation import DocumentOutcome, FailedBuild, Operation, Outcome, Result, RowBuilder
from cdc_daemon.model.reading import Reading
from cdc_daemon.model.signal import TableName
from cdc_daemon.pipeline.entry import Entry
from cdc_daemon.store.dead_letters import DOCUMENT, DOCUMENT_START, PARTITION, DeadLetter

_FILTERED = Result(Outcome.FILTERED)


class RowBatch:
    """Rows of one table that were taken together.

    `open` are the entries whose work is not finished. An entry leaves it when it is acknowledged, parked or retried.
    """

    def __init__(self, table: TableName) -> None:
        self.table = table
        self.entries: list[Entry] = []
        self.open: dict[Entry, None] = {}

    def add(self, entry: Entry) -> None:
        """Add a row."""
        self.entries.append(entry)
        self.open[entry] = None


class ReadRows(NamedTuple):
    """Entries of one table, aligned with the states of their reading."""

    entries: Sequence[Entry]
    reading: Reading

    @classmethod
    def prefetched(cls, entries: Iterable[Entry]) -> Iterator[ReadRows]:
        """Yield the rows that were read before their turn, by their readings."""
        found: dict[int, tuple[Reading, list[Entry], list[int]]] = {}
        for entry in entries:
            if entry.prefetched is not None:
                reading, at = entry.prefetched
                _, several, places = found.setdefault(id(reading), (reading, [], []))
                several.append(entry)
                places.append(at)
        for reading, several, places in found.values():
            yield cls(several, reading._replace(states=[reading.states[at] for at in places]))

    def only(self, places: Iterable[int]) -> ReadRows:
        """Return the rows at these places."""
        chosen = list(places)
        states = [self.reading.states[at] for at in chosen]
        return ReadRows([self.entries[at] for at in chosen], self.reading._replace(states=states))

    def without(self, places: Collection[int]) -> ReadRows:
        """Return the rows at all other places."""
        omitted = set(places)
        return self.only(at for at in range(len(self.entries)) if at not in omitted)


class Written(NamedTuple):
    """One operation that was sent, its entry and its result."""

    entry: Entry
    operation: Operation
    result: Result


class BuiltDocuments:
    """The documents of rows that were read together.

    `operations` are to be written. `letters` are the documents that cannot be written, each with its entry: those
    that could not be built, and after `match` those that Elasticsearch rejects.
    """

    def __init__(self, rows: ReadRows, build: RowBuilder) -> None:
        self.operations: list[Operation] = []
        self.letters: list[tuple[Entry, DeadLetter]] = []
        self._owners: list[Entry] = []
        self._outcomes: dict[Entry, list[DocumentOutcome]] = defaultdict(list)
        reading = rows.reading
        for entry, state in zip(rows.entries, reading.states, strict=True):
            if state.error is not None:
                self._set_aside(entry, type(state.error).__name__, state.error.message, state.error.where)
                continue
            version = max(reading.version, entry.minimum_version)
            for built in build(entry.key, state.row, version, reading.began):
                if isinstance(built, FailedBuild):
                    reason, start = type(built.error).__name__, built.source and built.source[:DOCUMENT_START]
                    self._set_aside(entry, reason, built.error.message, built.error.where, start)
                else:
                    self.operations.append(built)
                    self._owners.append(entry)

    def match(self, results: Sequence[Result]) -> list[Written]:
        """Return the results, aligned with `operations`, with their entries; set aside the rejected documents.

        A document that was removed because its mapping does not show the row gets the outcome `FILTERED`.
        """
        written = []
        for entry, operation, result in zip(self._owners, self.operations, results, strict=True):
            if result.outcome is Outcome.DEAD:
                self.give_up(entry, operation, result)
            elif entry.watches and result.outcome is not Outcome.REREAD:
                existed = result.status != 404
                outcome = DocumentOutcome(operation.alias, operation.id, result.outcome, existed=existed)
                self._outcomes[entry].append(outcome)
            filtered = operation.filtered and result.outcome is Outcome.DELETED
            written.append(Written(entry, operation, _FILTERED if filtered else result))
        return written

    def give_up(self, entry: Entry, operation: Operation, result: Result) -> None:
        """Set aside a document that Elasticsearch rejects, or fails on every time."""
        place = {"index": operation.alias, "id": operation.id}
        reason, body = result.error_type or "refused", operation.body
        self._set_aside(entry, reason, result.reason or "", place, body and body[:DOCUMENT_START])

    def outcomes(self, entry: Entry) -> Sequence[DocumentOutcome]:
        """Return the outcomes of the documents of a watched entry."""
        return self._outcomes.get(entry, ())

    def _set_aside(
        self, entry: Entry, reason: str, detail: str, place: Mapping[str, object], start: bytes | None = None
    ) -> None:
        self.letters.append((entry, letter_of(entry, reason, detail, place, start)))
        if entry.watches:
            alias, identity = str(place.get("index", "")), str(place.get("id", ""))
            self._outcomes[entry].append(DocumentOutcome(alias, identity, Outcome.DEAD, reason, detail))


def letter_of(
    entry: Entry, reason: str, detail: str, place: Mapping[str, object], start: bytes | None = None
) -> DeadLetter:
    """Return the dead letter of an entry that cannot be written: of a row's document, or of a whole partition.

    `place` is the target of the write, or the details of an error. `start` is the first bytes of the available data.
    """
    return DeadLetter(
        kind=PARTITION if entry.key.clustering is None else DOCUMENT,
        reason=reason,
        detail={"message": detail, **place},
        keyspace=entry.key.table.keyspace,
        table=entry.key.table.table,
        partition_key=entry.key.partition_key,
        clustering=entry.key.clustering,
        payload=start,
        alias=str(place.get("index", "")),
    )
