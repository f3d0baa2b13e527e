"""The summary that the status page and `/status` show. It is computed once a second, however many clients read it."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import prometheus_client as prometheus

from cdc_daemon.config.mapping import MappingSettings
from cdc_daemon.telemetry.metrics import LAG_BUCKETS, Metrics
from cdc_daemon.telemetry.status_problems import BEHIND_SECONDS, find_problems
from cdc_daemon.telemetry.status_sources import list_sources, list_tasks
from cdc_daemon.telemetry.trend import STEP_SECONDS, Counts, Measure, Trend, Window, quantile, read_counts, total

WINDOW_SECONDS = 60.0
"""Period over which freshness is measured, accurate to one step of the trend."""

SHARE = 0.02
"""Maximum share of time spent on measuring. With hundreds of tables it measures less often than once a second."""

_RATE_SECONDS = 10

MEASURES = (
    Measure("freshness_p50", "Freshness, median", "seconds"),
    Measure("freshness_p99", "Freshness, 99th percentile", "seconds"),
    Measure("behind", "Replication lag now", "seconds"),
    Measure("backlog", "Backlog in the commit log", "bytes"),
    Measure("pending", "Pending changed keys", "keys"),
    Measure("cdc_raw", "cdc_raw", "bytes"),
    Measure("documents", "Documents written", "per second"),
    Measure("available", "Both servers available", "share", "lowest"),
)


class _State(NamedTuple):
    value: str
    since: float


class StatusSummary:
    """Summarises the metrics and the daemon's state. Call `measure` once a second.

    It skips calls, so that it uses at most `share` of the time.
    """

    def __init__(self, metrics: Metrics, mappings: Mapping[str, MappingSettings], *, share: float = SHARE) -> None:
        self._share = share
        self._next = 0.0
        self._metrics = metrics
        self._mappings = mappings
        self._trend = Trend(MEASURES)
        self._window = Window(round(WINDOW_SECONDS / STEP_SECONDS))
        self._step: Mapping[tuple[str, ...], Counts] = {}
        self._documents: deque[tuple[float, float]] = deque(maxlen=_RATE_SECONDS + 1)
        self._states: dict[str, _State] = {}
        self._caught_up = 0.0
        self._shown: Mapping[str, Any] = {}
        self._stored: dict[str, float] = {}

    def count(self, **stored: float) -> None:
        """Set counts from the store: `dead_letters`, `open_jobs`, and when the `newest_job` was created."""
        self._stored.update(stored)

    def change_mappings(self, mappings: Mapping[str, MappingSettings]) -> None:
        """Show other mappings from the next measurement on."""
        self._mappings = mappings

    def measure(self, now: float, state: Mapping[str, Any]) -> None:
        """Read the metrics and the daemon's `state` at time `now` (seconds since epoch)."""
        began = time.perf_counter()
        if began >= self._next:
            self._measure(now, state)
            ended = time.perf_counter()
            self._next = began + (ended - began) / self._share

    def _measure(self, now: float, state: Mapping[str, Any]) -> None:
        counts = read_counts(self._metrics.replication_lag_seconds, ("keyspace", "table"))
        minute = self._window.since_oldest(counts)
        step = _quantiles(self._window.since_newest(counts).values())
        newest = _by_labels(self._metrics.last_acknowledged_write_timestamp_seconds)
        behind = self._behind(now, state, max(newest.values(), default=0.0))
        documents = _by_outcome(self._metrics.documents)
        self._documents.append((now, sum(sum(outcomes.values()) for outcomes in documents.values())))
        raw, limit = _value(self._metrics.cdc_raw_bytes), _value(self._metrics.cdc_raw_limit_bytes)
        servers = self._servers(now, state)
        troubles = {index["alias"]: index.get("trouble") for index in state.get("indices", ())}
        freshness = {
            **_quantiles(minute.values()),
            "behind": behind,
            "late": behind is not None and behind >= BEHIND_SECONDS,
            "window": WINDOW_SECONDS,
        }
        shown: dict[str, Any] = {
            "freshness": freshness,
            "rate": {"documents": self._rate()},
            "cdc_raw": {
                "bytes": raw,
                "limit": limit or None,
                "segments": int(_value(self._metrics.cdc_raw_segments)),
            },
            **servers,
            **self._stored,
            "sources": self._with_since(list_sources(self._metrics, {**state, **servers}), now),
            "tasks": self._with_since(list_tasks(state), now),
            "mappings": [
                {
                    **self._mapping(name, mapping, minute, newest, documents),
                    "trouble": troubles.get(mapping.alias),
                }
                for name, mapping in self._mappings.items()
            ],
        }
        shown["problems"] = find_problems({**state, **shown})
        self._shown = shown
        available = all(server["available"] for server in servers.values()) if servers else None
        ended = self._trend.record(
            now,
            {
                "freshness_p50": step["p50"],
                "freshness_p99": step["p99"],
                "behind": behind,
                "backlog": state.get("backlog", {}).get("bytes"),
                "pending": state.get("pending"),
                "cdc_raw": raw,
                "documents": shown["rate"]["documents"],
                "available": None if available is None else float(available),
            },
        )
        if ended:
            self._window.keep(counts)

    def show(self) -> Mapping[str, Any]:
        """Return the last summary in plain values; empty before the first measurement."""
        return self._shown

    def trend(self) -> Mapping[str, Any]:
        """Return the last hour; see `Trend.show`."""
        return self._trend.show()

    def _behind(self, now: float, state: Mapping[str, Any], newest: float) -> float | None:
        """Return how far the documents lag behind, in seconds; None before anything is known.

        Without pending work it is 0. Otherwise it is the time since there was last no pending work, or the age of the
        newest change acknowledged by Elasticsearch since, whichever is smaller.
        """
        if "backlog" not in state:
            return None
        if not state["pending"] and not state["backlog"]["bytes"] and not state.get("spooled"):
            self._caught_up = now
        ring = state.get("ring")
        if ring and ring["unconfirmed"] and not state["pending"] and not state.get("spooled"):
            # What waits in the log waits for other daemons' confirmations.
            self._caught_up = max(self._caught_up, now - ring["oldest_unconfirmed_seconds"])
        known = max(self._caught_up, min(newest, now))
        return round(now - known, 1) if known else None

    def _rate(self) -> float:
        (began, before), (ended, after) = self._documents[0], self._documents[-1]
        return round((after - before) / (ended - began), 1) if ended > began else 0.0

    def _servers(self, now: float, state: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        return {
            name: {**state[name], "since": self._since(name, str(state[name]["available"]), now)}
            for name in ("cassandra", "elasticsearch")
            if name in state
        }

    def _with_since(self, sources: Iterable[dict[str, Any]], now: float) -> list[dict[str, Any]]:
        return [
            {**source, "since": self._since(f"source {source['name']}", source["state"], now)} for source in sources
        ]

    def _since(self, name: str, value: str, now: float) -> float:
        before = self._states.get(name)
        if before is None or before.value != value:
            before = self._states[name] = _State(value, now)
        return before.since

    @staticmethod
    def _mapping(
        name: str,
        mapping: MappingSettings,
        minute: Mapping[tuple[str, ...], Counts],
        newest: Mapping[tuple[str, ...], float],
        documents: Mapping[str, Mapping[str, int]],
    ) -> dict[str, Any]:
        table = tuple(mapping.table)
        # Documents that could not be built are counted under their table.
        outcomes = Counter(documents.get(mapping.alias, {})) + Counter(documents.get(str(mapping.table), {}))
        return {
            "name": name,
            "table": str(mapping.table),
            "alias": mapping.alias,
            **_quantiles([minute[table]] if table in minute else []),
            "newest_write": newest.get(table) or None,
            "documents": dict(outcomes),
        }


def _quantiles(children: Iterable[Counts]) -> dict[str, float | None]:
    counts = total(list(children), len(LAG_BUCKETS) + 1)
    return {
        name: None if (value := quantile(share, counts, LAG_BUCKETS)) is None else round(value, 3)
        for name, share in (("p50", 0.5), ("p99", 0.99))
    }


def _by_outcome(documents: prometheus.Counter) -> dict[str, dict[str, int]]:
    """Return the number of documents by alias (or table) and outcome."""
    found: dict[str, dict[str, int]] = {}
    for (alias, outcome), count in _by_labels(documents).items():
        found.setdefault(alias, {})[outcome] = int(count)
    return found


def _by_labels(metric: prometheus.Counter | prometheus.Gauge) -> dict[tuple[str, ...], float]:
    return {
        tuple(sample.labels.values()): sample.value
        for family in metric.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def _value(gauge: prometheus.Gauge) -> float:
    return sum(_by_labels(gauge).values())
