"""Findings of jobs: mismatches between rows and documents, their counts, and how reports add up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from cdc_daemon.model.signal import Key

FIELDS = 50
"""Maximum differing fields named per document."""

LONGEST_LIST = 20
"""Maximum entries per list of examples."""


class RangeFindings(Protocol):
    """The findings in a range, gathered until they are stored together with the range's progress."""

    def take(self) -> Mapping[str, Any]:
        """Return the findings since the last call, in plain values, and reset them."""
        ...


class MismatchKind(StrEnum):
    """How a document differs from its row."""

    MISSING = "missing"
    """A row has no document."""

    DIFFERENT = "different"
    """The document does not match its row."""

    SURPLUS = "surplus"
    """A document has no row."""


class ComparisonVerdict(StrEnum):
    """The result of comparing one object type."""

    EQUAL = "equal"
    """Every row and every document was compared, and none differs."""

    REPAIRED = "repaired"
    """Every one was compared, and each mismatch was repaired."""

    DIFFERENT = "different"
    """Some documents still differ."""

    UNDECIDED = "undecided"
    """No mismatch is left, but some rows could not be compared: they kept changing, the tail did not pass them, or no
    document can be built from them."""


class Mismatch(NamedTuple):
    """One document that does not match its row.

    `fields` are the names of the differing fields. `expected` is the hash of the expected body, `found` that of the
    document's source, and `version` the document's version; each is None if it does not exist. `fresh` means that the
    document was written by a later read than ours, so it cannot be judged yet. An orphan, which cannot belong to any
    row, has the key None and the document's `routing`.
    """

    kind: MismatchKind
    id: str
    key: Key | None
    fields: tuple[str, ...] = ()
    expected: int | None = None
    found: int | None = None
    version: int | None = None
    fresh: bool = False
    routing: str | None = None

    def persists(self, before: Mismatch | None) -> bool:
        """Return whether the mismatch is the same as in the previous check."""
        return not self.fresh and before is not None and self._replace(fresh=before.fresh) == before


class MismatchCounts:
    """Counts the findings of one object type since the last `take`, in plain values that add up to a job's report.

    `rows` and `documents` count what was checked, `repaired` the mismatches that a repair removed, `left` those
    that are not, `unsettled` those that kept changing and could not be judged, `unreadable` the rows from which no
    document can be built.
    """

    def __init__(self, object_type: str) -> None:
        self._object_type = object_type
        self._plain = _nothing()

    def take(self) -> Mapping[str, Any]:
        """Return the findings since the last call, and reset them."""
        taken, self._plain = self._plain, _nothing()
        return {"types": {self._object_type: taken}}

    def add(self, **counts: int) -> None:
        """Add to the counts."""
        for name, count in counts.items():
            self._plain[name] += count

    def add_mismatches(self, mismatches: Iterable[Mismatch]) -> None:
        """Count confirmed mismatches."""
        for each in mismatches:
            self._plain[each.kind.value] += 1
            self._plain["left"][each.kind.value] += 1
            examples = self._plain["examples"].setdefault(each.kind.value, [])
            if len(examples) < LONGEST_LIST:
                examples.append({"id": each.id, "version": each.version, "fields": list(each.fields[:FIELDS])})

    def add_repaired(self, mismatches: Iterable[Mismatch]) -> None:
        """Count repaired mismatches."""
        for each in mismatches:
            self._plain["repaired"] += 1
            self._plain["left"][each.kind.value] -= 1


def _nothing() -> dict[str, Any]:
    names = ("rows", "documents", *MismatchKind, "repaired", "unsettled", "unreadable")
    return {**{str(name): 0 for name in names}, "left": {kind.value: 0 for kind in MismatchKind}, "examples": {}}


def verdict_of(found: Mapping[str, Any]) -> ComparisonVerdict:
    """Return the verdict for an object type's entry in a report of a whole comparison."""
    if any(found["left"].values()):
        return ComparisonVerdict.DIFFERENT
    if found["unsettled"] or found["unreadable"]:
        return ComparisonVerdict.UNDECIDED
    return ComparisonVerdict.REPAIRED if any(found[kind.value] for kind in MismatchKind) else ComparisonVerdict.EQUAL


def remaining(report: Mapping[str, Any]) -> int:
    """Return the number of mismatches in a report that were not repaired."""
    return sum(sum(each["left"].values()) for each in report.get("types", {}).values())


def add_reports(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sum of two reports: numbers added, lists joined up to `LONGEST_LIST`, nested mappings likewise.

    Neither is changed, and the result shares no object with them.
    """
    added: dict[str, Any] = {}
    for name in (*one, *(each for each in other if each not in one)):
        values = [each[name] for each in (one, other) if name in each]
        if isinstance(values[0], Mapping):
            added[name] = add_reports(values[0], values[1] if len(values) > 1 else {})
        elif isinstance(values[0], list):
            added[name] = [entry for value in values for entry in value][:LONGEST_LIST]
        else:
            added[name] = sum(values)
    return added
