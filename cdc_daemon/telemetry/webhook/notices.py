"""Finds in the metrics and the status what people must know. It reads them once a second, and nothing waits for it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import prometheus_client as prometheus

from cdc_daemon.config.webhook import WebhookEvent, WebhookSettings
from cdc_daemon.telemetry.metrics import Metrics

_MOST_REASONS = 20


class Notice(NamedTuple):
    """Something that people must know. `times` is how often it happened, `runbook` an anchor in docs/runbook.md."""

    event: WebhookEvent
    severity: Literal["critical", "warning", "resolved"]
    text: str
    runbook: str
    times: int = 1
    details: Mapping[str, Any] = {}


class NoticeFinder:
    """Finds what is new since the last look, and each event at most once in `every` seconds.

    What happens while an event must not be reported is counted in its next notice. `quarantined` is the number of
    segments in the quarantine folder at the start.
    """

    def __init__(self, metrics: Metrics, settings: WebhookSettings, *, quarantined: int = 0) -> None:
        self._metrics = metrics
        self._settings = settings
        self._due: dict[WebhookEvent, float] = {}
        self._letters: Mapping[str, float] = {}
        self._gaps: Mapping[str, float] = {}
        self._quarantined = float(quarantined)
        self._compared: Mapping[str, float] = {}
        self._progress: tuple[float, float] | None = None
        self._stalled = False
        self._checks: Mapping[WebhookEvent, Callable[[float, Mapping[str, Any]], Notice | None]] = {
            "dead_letter": self._find_letters,
            "gap": self._find_gaps,
            "drift": self._find_drift,
            "quarantined_segment": self._find_quarantined,
            "stalled": self._find_stall,
        }

    def configure(self, settings: WebhookSettings) -> None:
        """Go by other settings from the next look on."""
        self._settings = settings

    def look(self, now: float, status: Mapping[str, Any]) -> list[Notice]:
        """Return what is new at the time `now` (seconds), by the metrics and the daemon's status."""
        found = []
        for event, check in self._checks.items():
            if event in self._settings.events and now >= self._due.get(event, 0.0):
                notice = check(now, status)
                if notice is not None:
                    self._due[event] = now + self._settings.every
                    found.append(notice)
        return found

    def _find_letters(self, _now: float, _status: Mapping[str, Any]) -> Notice | None:
        before, self._letters = self._letters, _by_label(self._metrics.dead_letters, "reason")
        new = _increase(before, self._letters)
        if not new:
            return None
        count = sum(new.values())
        text = f"{count:,} changes could not be replicated and became dead letters."
        if count == 1:
            text = "A change could not be replicated and became a dead letter."
        return Notice("dead_letter", "warning", text, "cdcdeadlettersgrowing", count, {"reasons": _first(new)})

    def _find_gaps(self, _now: float, _status: Mapping[str, Any]) -> Notice | None:
        before, self._gaps = self._gaps, _by_label(self._metrics.gaps, "reason")
        new = _increase(before, self._gaps)
        if not new:
            return None
        text = "CDC segments are missing: their changes may be lost."
        return Notice("gap", "warning", text, "cdcgapfound", sum(new.values()), {"reasons": _first(new)})

    def _find_quarantined(self, _now: float, _status: Mapping[str, Any]) -> Notice | None:
        found = _by_label(self._metrics.quarantined_segments).get("", 0.0)
        new, self._quarantined = round(found - self._quarantined), max(found, self._quarantined)
        text = "A CDC segment is damaged: changes in it may be lost. A copy is kept in the quarantine folder."
        details = {"kept": round(found)}
        if new <= 0:
            return None
        return Notice("quarantined_segment", "warning", text, "cdcsegmentquarantined", new, details)

    def _find_drift(self, _now: float, _status: Mapping[str, Any]) -> Notice | None:
        before, self._compared = self._compared, _by_label(self._metrics.drift_compared_timestamp_seconds, "type")
        drift: dict[str, float] = _by_label(self._metrics.drift_documents, "type")
        types = {
            name: round(drift[name])
            for name, compared in self._compared.items()
            if compared > before.get(name, 0.0) and drift.get(name)
        }
        text = f"A comparison has found documents that differ from their rows: {', '.join(types)}."
        count = sum(types.values())
        return Notice("drift", "warning", text, "cdcdriftfound", count, {"documents": types}) if types else None

    def _find_stall(self, now: float, status: Mapping[str, Any]) -> Notice | None:
        settled = sum(
            sum(_by_label(metric).values()) for metric in (self._metrics.keys_settled, self._metrics.changes_confirmed)
        )
        if self._progress is None or settled != self._progress[0] or not _waits(status):
            self._progress = settled, now
            if not self._stalled:
                return None
            self._stalled = False
            return Notice("stalled", "resolved", "Changes are acknowledged again.", "cdcdaemonstalled")
        seconds = now - self._progress[1]
        if self._stalled or seconds < self._settings.stalled_after:
            return None
        self._stalled = True
        waiting = status.get("waiting_for")
        cause = f" The daemon waits for {waiting['what']}." if waiting else ""
        text = f"Changes are waiting, and none has been acknowledged for {round(seconds)} seconds.{cause}"
        return Notice("stalled", "critical", text, "cdcdaemonstalled", 1, {"seconds": round(seconds)})


def _waits(status: Mapping[str, Any]) -> bool:
    """Whether there is work that should go on: not while an operator has paused it, nor during a stop."""
    if status.get("state") == "starting":
        return bool(status.get("waiting_for"))
    backlog = (status.get("backlog") or {}).get("bytes")
    waits = bool(status.get("pending") or backlog or status.get("spooled"))
    return waits and not status.get("paused") and status.get("state") == "running"


def _by_label(metric: prometheus.Counter | prometheus.Gauge, label: str | None = None) -> dict[str, float]:
    """Return the sums of a metric by the value of one label, or of "" without a label."""
    found: dict[str, float] = {}
    for family in metric.collect():
        for sample in family.samples:
            name = "" if label is None else sample.labels[label]
            found[name] = found.get(name, 0.0) + sample.value
    return found


def _increase(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, int]:
    """Return by how much each counter has grown, the largest first."""
    grown = {name: round(value - before.get(name, 0.0)) for name, value in after.items()}
    largest = sorted(((count, name) for name, count in grown.items() if count > 0), reverse=True)
    return {name: count for count, name in largest}


def _first(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(itertools.islice(counts.items(), _MOST_REASONS))
