"""Log a line for each new dead letter, up to a limit for each period; the others are only counted."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from cdc_daemon.store.dead_letters import DeadLetter
from cdc_daemon.values.shown import cut

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
    """Return a line's fields: no values except the document's id, as the reason's text may quote personal data."""
    identity = letter.detail.get("id")
    told: dict[str, object | None] = {
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
    return {name: value for name, value in told.items() if value is not None}
