"""Differences between rows and documents, and their counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from cdc_daemon.model.key import Key
from cdc_daemon.tablejobs.report import LONGEST_LIST

FIELDS = 50
"""Maximum differing fields named per document."""


class Kind(StrEnum):
    """How a document differs from its row."""

    MISSING = "missing"
    """There is a row to show, and no document."""

    DIFFERENT = "different"
    """The document does not match its row."""

    SURPLUS = "surplus"
    """There is a document, and no row to show."""


class Verdict(StrEnum):
    """The result of comparing one object type."""

    EQUAL = "equal"
    """Every row and every document was judged, and none differs."""

    REPAIRED = "repaired"
    """Every one was judged, and each that differed was repaired."""

    DIFFERENT = "different"
    """Some still differ."""

    UNDECIDED = "undecided"
    """None that was judged still differs, but some could not be judged: they changed all the while, or the tail did not
    pass them, or no document can show their rows."""


class Difference(NamedTuple):
    """One document that is not as it should be.

    `fields` are the names of the differing fields. `expected` is the hash of the expected body, `found` that of the
    document's source, `version` its version; None where there is none. `fresh` says that it was written by a read later
    than ours, so it cannot be judged yet. For a document that cannot belong to any row, `key` is None, and `routing` is
    the document's routing.
    """

    kind: Kind
    id: str
    key: Key | None
    fields: tuple[str, ...] = ()
    expected: int | None = None
    found: int | None = None
    version: int | None = None
    fresh: bool = False
    routing: str | None = None

    def persists(self, before: Difference | None) -> bool:
        """Return whether nothing has changed since the previous check."""
        return not self.fresh and before is not None and self._replace(fresh=before.fresh) == before


class Account:
    """Counts findings of one object type since the last `take`, in plain values that add up to a job's report.

    `rows` and `documents` count those that were checked, `repaired` differences that are gone after a repair, `left`
    those that are not, `unsettled` those that never stood still long enough to be judged, `unreadable` rows that no
    document can show.
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

    def drift(self, differences: Iterable[Difference]) -> None:
        """Record confirmed differences."""
        for each in differences:
            self._plain[each.kind.value] += 1
            self._plain["left"][each.kind.value] += 1
            kept = self._plain["examples"].setdefault(each.kind.value, [])
            if len(kept) < LONGEST_LIST:
                kept.append({"id": each.id, "version": each.version, "fields": list(each.fields[:FIELDS])})

    def repaired(self, differences: Iterable[Difference]) -> None:
        """Record that differences are gone."""
        for each in differences:
            self._plain["repaired"] += 1
            self._plain["left"][each.kind.value] -= 1


def _nothing() -> dict[str, Any]:
    names = ("rows", "documents", *Kind, "repaired", "unsettled", "unreadable")
    return {**{str(name): 0 for name in names}, "left": {kind.value: 0 for kind in Kind}, "examples": {}}


def verdict_of(found: Mapping[str, Any]) -> Verdict:
    """Return the verdict for an object type's entry in a report of a whole comparison."""
    if any(found["left"].values()):
        return Verdict.DIFFERENT
    if found["unsettled"] or found["unreadable"]:
        return Verdict.UNDECIDED
    return Verdict.REPAIRED if any(found[kind.value] for kind in Kind) else Verdict.EQUAL


def remaining(report: Mapping[str, Any]) -> int:
    """Return how many differences in a report were not repaired."""
    return sum(sum(each["left"].values()) for each in report.get("types", {}).values())
