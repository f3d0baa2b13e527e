"""What is watched while a run lasts: how far search lags, the daemon's memory and files, and its counters."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import psutil
from prometheus_client.parser import text_string_to_metric_families

from bench.torture.comparison import request
from bench.torture.load import FAILURES
from bench.torture.scene import Scene
from bench.torture.shapes import KEYSPACE, PROBE, alias_of
from sandbox.errors import SandboxError
from sandbox.threads import BackgroundThreads

WRITE_EVERY = 0.25
LOOK_EVERY = 0.25
SAMPLE_EVERY = 2.0


@dataclass(frozen=True, slots=True)
class Sample:
    """The daemon at one moment; the memory and so on are those of a process that runs."""

    at: float
    lag: float
    resident: int = 0
    descriptors: int = 0
    threads: int = 0
    store: int = 0
    log: int = 0


@dataclass(slots=True)
class Account:
    """The counters of one life of the daemon, from its last answer."""

    decoded: int = 0
    taken: int = 0
    coalesced: int = 0
    rows: int = 0
    partitions: int = 0
    forgotten: int = 0
    pending: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)

    @property
    def mistakes(self) -> list[str]:
        """What does not add up."""
        found = []
        settled = self.coalesced + self.rows + self.partitions + self.forgotten + self.pending
        if self.taken != settled:
            found.append(f"{self.taken:,} signals taken, {settled:,} coalesced, settled, forgotten or pending")
        documents = sum(self.outcomes.values())
        if documents != self.rows:  # each table of a run has one mapping
            found.append(f"{self.rows:,} rows settled, {documents:,} documents counted")
        return found

    def plain(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


class Watch(BackgroundThreads):
    """Threads that write the probe, look for its document in the search engine itself, and ask the daemon."""

    def __init__(self, scene: Scene) -> None:
        self.samples: list[Sample] = []
        self.accounts: dict[int, Account] = {}
        """By the process id of each life of the daemon."""

        self.mistakes: list[str] = []
        self.ended: list[str] = []
        """The ends of the daemon that nobody asked for."""

        self.lag = 0.0
        self.largest_lag = 0.0
        self.delays: list[tuple[float, float]] = []
        """When each probe was shown, and how many seconds after its write."""

        self._scene = scene
        self._probing = True
        self._written: deque[tuple[int, float]] = deque()
        self._began = time.monotonic()
        works = (self._write, self._look, self._sample)
        super().__init__({work.__name__: partial(self._repeat, work) for work in works})

    @property
    def now(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._began

    def end_probe(self) -> None:
        """Write no further probes."""
        self._probing = False

    def _repeat(self, work: Callable[[], None]) -> None:
        while not self.stopping.is_set():
            work()

    def _write(self) -> None:
        if not self._probing:
            self.stopping.wait(WRITE_EVERY)
            return
        number = time.time_ns() // 1_000_000
        statement = f"INSERT INTO {KEYSPACE}.{PROBE} (id, n) VALUES (1, %s)"  # noqa: S608 -- constants
        try:
            self._scene.session.execute(statement, [number], timeout=2.0)
        except FAILURES:
            pass
        else:
            self._written.append((number, time.monotonic()))
        self.stopping.wait(WRITE_EVERY)

    def _look(self) -> None:
        try:
            found = request(self._scene.search_url, "GET", f"/{alias_of(PROBE)}/_doc/1", timeout=2.0)
        except OSError:
            found = {}
        shown = found["_source"]["n"] if found.get("found") else 0
        now = time.monotonic()
        while self._written and self._written[0][0] <= shown:
            _, written = self._written.popleft()
            self.delays.append((now - self._began, now - written))
        self.lag = now - self._written[0][1] if self._written else 0.0
        self.largest_lag = max(self.largest_lag, self.lag)
        self.stopping.wait(LOOK_EVERY)

    def _sample(self) -> None:
        scene, lag = self._scene, self.lag
        sample = Sample(self.now, lag)
        if scene.expected and not scene.daemon.alive:
            self.ended.append(f"after {self.now:.0f} s\n{scene.daemon.log_tail()}")
            scene.start()
        try:
            pid = scene.daemon.pid
            process = psutil.Process(pid)
            sample = Sample(
                self.now,
                lag,
                process.memory_info().rss,
                process.num_fds(),
                process.num_threads(),
                _size(scene, "cdc-daemon.sqlite3"),
                _size(scene, "cdc-daemon.sqlite3-wal"),
            )
            if scene.expected:
                self._count(pid, scene.get("/metrics").decode())
        except (psutil.Error, OSError, SandboxError):
            pass  # it was killed at this moment, or is frozen
        self.samples.append(sample)
        self.stopping.wait(SAMPLE_EVERY)

    def _count(self, pid: int, text: str) -> None:
        account = self.accounts[pid] = read_account(text)
        for mistake in account.mistakes:
            self.mistakes.append(f"after {self.now:.0f} s, process {pid}: {mistake}")


def read_account(text: str) -> Account:
    """Return the counters in an answer of /metrics."""
    account = Account()
    counters = {
        "cdc_daemon_mutations_total": "decoded",
        "cdc_daemon_signals_taken_total": "taken",
        "cdc_daemon_signals_coalesced_total": "coalesced",
        "cdc_daemon_keys_forgotten_total": "forgotten",
        "cdc_daemon_pending": "pending",
    }
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if not sample.name.startswith("cdc_daemon_") or math.isnan(sample.value):
                continue
            value = int(sample.value)
            if sample.name in counters:
                name = counters[sample.name]
                setattr(account, name, getattr(account, name) + value)
            elif sample.name == "cdc_daemon_keys_settled_total":
                name = "rows" if sample.labels["scope"] == "row" else "partitions"
                setattr(account, name, getattr(account, name) + value)
            elif sample.name == "cdc_daemon_documents_total":
                outcome = sample.labels["outcome"]
                account.outcomes[outcome] = account.outcomes.get(outcome, 0) + value
    return account


def _size(scene: Scene, name: str) -> int:
    try:
        return (scene.state / name).stat().st_size
    except OSError:
        return 0
