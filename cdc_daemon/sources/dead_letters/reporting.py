"""How dead letters are reported: as log lines, limited in each period, and as JSON."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

import structlog

from cdc_daemon.model.errors import NOT_BUILT
from cdc_daemon.store.dead_letters import DOCUMENT, DeadLetter
from cdc_daemon.values.messages import cut

log = structlog.get_logger(__name__)

LINES: Final = 10
"""Lines written in one period."""

PERIOD: Final = 60.0
"""Seconds of one period."""

_REASONS: Final = 5
"""Number of reasons that the summary of unlogged letters names."""


class DeadLetterLog:
    """Logs new dead letters as warnings, with the letter's id and reason.

    A period begins with the first letter and has at most `LINES` lines. `flush` ends it and logs how many letters had
    no line, with their most frequent reasons. The methods may be called from any thread. `now` returns seconds.
    """

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._ends = 0.0
        self._lines = 0
        self._suppressed: Counter[str] = Counter()

    def note(self, letters: Sequence[DeadLetter]) -> None:
        """Log letters that are stored and have their ids."""
        self.flush()
        for letter in letters:
            with self._lock:
                if not self._lines:
                    self._ends = self._now() + PERIOD
                if self._lines >= LINES:
                    self._suppressed[letter.reason] += 1
                    continue
                self._lines += 1
            log.warning("dead_letters.set_aside", **_fields(letter))

    def flush(self, *, at_once: bool = False) -> None:
        """Log how many letters had no line if the period is over, or in any case with `at_once`."""
        with self._lock:
            if not at_once and self._now() < self._ends:
                return
            suppressed, self._suppressed, self._lines = self._suppressed, Counter(), 0
        if suppressed:
            log.warning(
                "dead_letters.suppressed",
                suppressed=suppressed.total(),
                reasons=dict(suppressed.most_common(_REASONS)),
                seconds=PERIOD,
                hint="cdc-daemon dead-letters list shows all of them",
            )


def _fields(letter: DeadLetter) -> dict[str, object]:
    """Return the fields of a log line. Only the document's id is a value: others may be personal data."""
    identity = letter.detail.get("id")
    fields: dict[str, object | None] = {
        "letter": letter.id,
        "kind": letter.kind,
        "reason": letter.reason,
        "table": f"{letter.keyspace}.{letter.table}" if letter.table else None,
        "table_id": letter.table_id,
        "index": letter.alias or None,
        "id": cut(identity) if isinstance(identity, str) and identity else None,
        "segment": letter.segment_id,
        "position": letter.position,
        "hint": f"cdc-daemon dead-letters show {letter.id}",
    }
    return {name: value for name, value in fields.items() if value is not None}


def dead_letter_as_json(letter: DeadLetter) -> dict[str, Any]:
    """Return a letter as values for JSON: times in seconds since epoch, bytes hexadecimal.

    `count` is the number of mutations that the letter covers: all mutations of an unknown table share one letter. `key`
    is the row's key by column name, if it could be decoded. `document` holds the first characters of a document that
    Elasticsearch rejected. `row` holds the first characters of a row from which no document can be built.
    """
    clustering, payload = letter.clustering, letter.payload
    start = None if payload is None or letter.kind != DOCUMENT else payload.decode(errors="replace")
    is_built = letter.reason not in NOT_BUILT
    return {
        "id": letter.id,
        "at": _seconds(letter.at),
        "last_at": _seconds(letter.at if letter.last_at is None else letter.last_at),
        "attempts": letter.attempts,
        "count": letter.count,
        "kind": letter.kind,
        "reason": letter.reason,
        "keyspace": letter.keyspace,
        "table": letter.table,
        "key": letter.detail.get("key"),
        "alias": letter.alias or None,
        "partition_key": None if letter.partition_key is None else letter.partition_key.hex(),
        "clustering": None if clustering is None else [None if part is None else part.hex() for part in clustering],
        "segment_id": letter.segment_id,
        "position": letter.position,
        "detail": {name: value for name, value in letter.detail.items() if name != "key"},
        "document": start if is_built else None,
        "row": None if is_built else start,
        "payload_bytes": None if payload is None else len(payload),
    }


def _seconds(moment: int | None) -> float | None:
    return None if moment is None else moment / 1e6
