"""Entries read together, the operations built from them, and the results."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from cdc_daemon.model.document_operation import FailedBuild, Operation, Outcome, Result, RowBuilder
from cdc_daemon.model.reading import Reading
from cdc_daemon.pipeline.entry import Entry
from cdc_daemon.pipeline.watch import DocumentOutcome
from cdc_daemon.store.dead_letters import DOCUMENT, DOCUMENT_START, PARTITION, DeadLetter

_FILTERED = Result(Outcome.FILTERED)


class Batch:
    """Build the operations for a batch of entries, aligned with the states of its reading.

    `operations` are to be written. `letters` are the documents that cannot be written, each with its entry: those
    that could not be built, and after `judge` those that Elasticsearch rejects.
    """

    def __init__(self, entries: Sequence[Entry], reading: Reading, build: RowBuilder) -> None:
        self.operations: list[Operation] = []
        self.letters: list[tuple[Entry, DeadLetter]] = []
        self._owners: list[Entry] = []
        self._told: dict[Entry, list[DocumentOutcome]] = defaultdict(list)
        for entry, state in zip(entries, reading.states, strict=True):
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

    def judge(self, results: Sequence[Result]) -> list[tuple[Entry, Operation, Result]]:
        """Classify the results, aligned with `operations`, and return them with their entries.

        A document that was removed because its mapping does not show the row gets the outcome `FILTERED`.
        """
        for entry, operation, result in zip(self._owners, self.operations, results, strict=True):
            if result.outcome is Outcome.DEAD:
                self.give_up(entry, operation, result)
            elif entry.watches and result.outcome is not Outcome.REREAD:
                existed = result.status != 404
                outcome = DocumentOutcome(operation.alias, operation.id, result.outcome, existed=existed)
                self._told[entry].append(outcome)
        told = [
            _FILTERED if operation.filtered and result.outcome is Outcome.DELETED else result
            for operation, result in zip(self.operations, results, strict=True)
        ]
        return list(zip(self._owners, self.operations, told, strict=True))

    def give_up(self, entry: Entry, operation: Operation, result: Result) -> None:
        """Set aside a document that Elasticsearch rejects, or fails on every time."""
        place = {"index": operation.alias, "id": operation.id}
        reason, body = result.error_type or "refused", operation.body
        self._set_aside(entry, reason, result.reason or "", place, body and body[:DOCUMENT_START])

    def outcomes(self, entry: Entry) -> Sequence[DocumentOutcome]:
        """Return the outcomes of the documents of a watched entry."""
        return self._told.get(entry, ())

    def _set_aside(
        self, entry: Entry, reason: str, detail: str, place: Mapping[str, object], start: bytes | None = None
    ) -> None:
        self.letters.append((entry, letter_of(entry, reason, detail, place, start)))
        if entry.watches:
            alias, identity = str(place.get("index", "")), str(place.get("id", ""))
            self._told[entry].append(DocumentOutcome(alias, identity, Outcome.DEAD, reason, detail))


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
