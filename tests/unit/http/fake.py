"""A daemon without servers: the real service and jobs over rows in memory."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from prometheus_client import CollectorRegistry

from cdc_daemon.app.schedule import ScheduledJob
from cdc_daemon.commitlog.schema import Column, TableMetadata
from cdc_daemon.config import HttpSettings, MappingSettings
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.cql_types import CqlType
from cdc_daemon.model.document_operation import DocumentOutcome, Outcome
from cdc_daemon.model.errors import CdcError, IndexSwapError, Trouble
from cdc_daemon.model.signal import Key, Signal, TableName
from cdc_daemon.peers.questions import PeerQuestions
from cdc_daemon.pipeline.gate import Pause
from cdc_daemon.pipeline.ports import Watch
from cdc_daemon.sources.dead_letters.replay import ReplayedLetter, ReplayOutcome, ReplayResult
from cdc_daemon.sources.requests import Refresh, SyncService, UnknownObjectTypeError
from cdc_daemon.sources.requests.jobs import SyncJobRunner
from cdc_daemon.store import Store
from cdc_daemon.store.dead_letter_filter import EVERYTHING, DeadLetterFilter
from cdc_daemon.store.dead_letters import DeadLetter, Facet
from cdc_daemon.store.range_jobs import JobProgress, RangeJob
from cdc_daemon.store.sync_jobs import SyncJob
from cdc_daemon.tablejobs.range_job import JobRequest
from cdc_daemon.tablejobs.runner import RangeJobReport
from cdc_daemon.telemetry.metrics import Metrics
from cdc_http import LoopState
from cdc_http.daemon_view import ReloadView

SCHEDULED = ScheduledJob(
    "expired values", 0.5, started=1_700_000_000.0, ended=1_700_000_000.5, runs=4, failures=4, error="no host"
)
LENIENT = HttpSettings(contract="lenient")


def _columns(kind: Literal["partition_key", "clustering"], types: Mapping[str, str]) -> tuple[Column, ...]:
    return tuple(Column(name, name.encode(), CqlType(of), kind, at) for at, (name, of) in enumerate(types.items()))


def table(name: str, partition: Mapping[str, str], clustering: Mapping[str, str] | None = None) -> TableMetadata:
    """Make a table of these key columns and their types."""
    return TableMetadata(
        name.encode(),
        "sunbird",
        name,
        partition_key=_columns("partition_key", partition),
        clustering=_columns("clustering", clustering or {}),
        static=(),
        regular=(Column("v", b"v", CqlType("text"), "regular"),),
    )


TABLES = {
    "user": table("user", {"id": "text"}),
    "batch": table("course_batch", {"courseid": "text"}, {"batchid": "text"}),
    "user_course": table("user_enrolments", {"userid": "text"}, {"courseid": "text", "batchid": "text"}),
    "device": table("device", {"id": "uuid"}),
}

SETTINGS = {
    "user": MappingSettings(table=TableName("sunbird", "user"), alias="user_alias", id="{id}"),
    "batch": MappingSettings(
        table=TableName("sunbird", "course_batch"), alias="course-batch", fields={"courseid": "courseId"}
    ),
    "user_course": MappingSettings(
        table=TableName("sunbird", "user_enrolments"), alias="user-courses", id="{batchid}_{userid}"
    ),
    "device": MappingSettings(table=TableName("sunbird", "device"), alias="device"),
}


class _NoJobs:
    """For tests that ask for nothing later."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


NO_JOBS: Any = _NoJobs()


class FakePipeline:
    """Settles what is asked for in the next turn: `outcomes` by partition key, indexed where there is none."""

    def __init__(self) -> None:
        self.outcomes: dict[bytes, DocumentOutcome] = {}
        self.held: Trouble | None = None
        self.asked: list[Key] = []
        self.withdrawn: list[Key] = []

    def request(self, signals: Iterable[Signal], watch: Watch) -> None:
        keys = [Key.of(signal) for signal in signals]
        self.asked.extend(keys)
        asyncio.get_running_loop().call_soon(self._settle, keys, watch)

    def withdraw(self, keys: Iterable[Key]) -> None:
        self.withdrawn.extend(keys)

    def _settle(self, keys: Sequence[Key], watch: Watch) -> None:
        for key in keys:
            if self.held is not None:
                watch.delayed(key, self.held)
                continue
            alias = next(s.alias for s in SETTINGS.values() if s.table == key.table)
            usual = DocumentOutcome(alias, key.partition_key.hex(), Outcome.INDEXED)
            row = key if key.clustering is not None else key._replace(clustering=(b"",))
            watch.settled(row, [self.outcomes.get(key.partition_key, usual)])
            if key.clustering is None:
                watch.settled(key, [])


class FakeHealth:
    """The servers as the pipeline sees them."""

    def __init__(self) -> None:
        self.known: Trouble | None = None
        self.suspected: Trouble | None = None
        self.lost = asyncio.Event()

    def trouble(self, _alias: str) -> Trouble | None:
        return self.known

    async def wait_unreadable(self) -> str:
        await self.lost.wait()
        return "no answer for 2 s"

    def suspicion(self, at_least: float, keys: Collection[Key]) -> Trouble | None:
        assert at_least >= 0
        assert all(isinstance(key, Key) for key in keys)
        return self.suspected


class FakeRefresher:
    """Remembers what was to be searchable."""

    def __init__(self) -> None:
        self.refreshed: list[tuple[str, Refresh]] = []

    async def refresh(self, alias: str, when: Refresh) -> None:
        if when is not Refresh.NO:
            self.refreshed.append((alias, when))


class FakeReloader:
    """Has one configuration; `error` is why another one would be refused."""

    def __init__(self) -> None:
        self.error: str | None = None
        self.by: list[str] = []

    async def reload(self, by: str) -> Mapping[str, Any]:
        self.by.append(by)
        if self.error is not None:
            return {"result": "refused", "generation": 1, "error": self.error}
        return {
            "result": "applied",
            "generation": 2,
            "mappings": {"added": ["order"], "changed": ["user", "batch"], "removed": []},
            "sections": ["log"],
            "restart_needed": ["http.port"],
            "new_index_needed": {"user": ["id", "index"]},
            "backfill_needed": ["batch"],
        }


class FakeControl:
    """Remembers who paused it."""

    def __init__(self) -> None:
        self.paused: Pause | None = None
        self.letters: list[DeadLetter] = []
        self.unmended: set[str] = set()
        self.jobs: list[SyncJob] = []
        self.config: dict[str, Any] = {"http": {"port": 8080}}

    def pause(self, by: str) -> Pause:
        self.paused = self.paused or Pause(by, 1_700_000_000.5)
        return self.paused

    def resume(self, by: str) -> None:
        assert by
        self.paused = None

    async def dead_letters(self, limit: int, wanted: DeadLetterFilter = EVERYTHING) -> Sequence[DeadLetter]:
        return self._wanted(wanted)[:limit]

    async def count_dead_letters(self, wanted: DeadLetterFilter = EVERYTHING) -> int:
        return len(self._wanted(wanted))

    async def count_dead_letters_by(self, wanted: DeadLetterFilter, column: Facet) -> Mapping[str, int]:
        found: Counter[str] = Counter()
        for letter in self._wanted(wanted):
            found[f"{letter.keyspace}.{letter.table}" if column == "table" else getattr(letter, column)] += 1
        return dict(found.most_common())

    async def replay(self, wanted: DeadLetterFilter, limit: int) -> ReplayResult:
        oldest = self._wanted(wanted)[::-1]
        return ReplayResult([self._replayed(letter) for letter in oldest[:limit]], more=len(oldest) > limit)

    async def replay_one(self, identity: int) -> ReplayedLetter | None:
        return next((self._replayed(letter) for letter in self.letters if letter.id == identity), None)

    async def drop_dead_letter(self, identity: int) -> bool:
        before = len(self.letters)
        self.letters = [letter for letter in self.letters if letter.id != identity]
        return len(self.letters) < before

    async def drop_dead_letters(self, wanted: DeadLetterFilter) -> int:
        dropped = self._wanted(wanted)
        self.letters = [letter for letter in self.letters if letter not in dropped]
        return len(dropped)

    async def sync_jobs(self, limit: int) -> Sequence[SyncJob]:
        return self.jobs[:limit]

    def configuration(self) -> Mapping[str, Any]:
        return self.config

    def _wanted(self, wanted: DeadLetterFilter) -> list[DeadLetter]:
        return [
            letter
            for letter in self.letters
            if wanted.reason in {None, letter.reason}
            and wanted.kind in {None, letter.kind}
            and wanted.table in {None, letter.table, f"{letter.keyspace}.{letter.table}"}
            and (wanted.above or 0) < (letter.id or 0) < (wanted.below or float("inf"))
        ]

    def _replayed(self, letter: DeadLetter) -> ReplayedLetter:
        assert letter.id is not None
        if letter.reason in self.unmended:
            return ReplayedLetter(letter.id, ReplayOutcome.FAILED, letter.reason, "still no date")
        self.letters = [each for each in self.letters if each.id != letter.id]
        return ReplayedLetter(letter.id, ReplayOutcome.REPLAYED)


class FakeRangeJobs:
    """Accepts jobs and keeps them in memory without running them."""

    def __init__(self) -> None:
        self.requests: list[JobRequest] = []
        self.reports: dict[str, RangeJobReport] = {}
        self.failure: CdcError | None = None

    async def start(self, request: JobRequest) -> RangeJobReport:
        if self.failure is not None:
            raise self.failure
        for object_type in request.types:
            if object_type not in SETTINGS:
                raise UnknownObjectTypeError(object_type, SETTINGS)
        self.requests.append(request)
        job = RangeJob(
            id=f"{len(self.requests):016x}", kind=request.kind, options=request.options(), created=1_700_000_000_000_000
        )
        self.reports[job.id] = RangeJobReport(job, JobProgress(16, 4, 100.0, 25.0, 7), dict.fromkeys(request.types, 7))
        return self.reports[job.id]

    async def report(self, identity: str) -> RangeJobReport | None:
        return self.reports.get(identity)

    async def newest(self, limit: int) -> Sequence[RangeJobReport]:
        return list(reversed(self.reports.values()))[:limit]

    async def cancel(self, identity: str) -> RangeJobReport | None:
        if identity in self.reports:
            self.end(identity, "cancelled")
        return self.reports.get(identity)

    def end(self, identity: str, state: str, **found: Any) -> None:
        report = self.reports[identity]
        job = replace(report.job, state=state, report=found, finished=1_700_000_001_000_000)
        self.reports[identity] = report._replace(job=job, progress=JobProgress(16, 16, 100.0, 100.0, 28))

    def end_all(self, **found: Any) -> None:
        for identity in self.reports:
            self.end(identity, "done", **found)


ESTIMATE = {
    "rows": 28,
    "bytes": 2800,
    "seconds": 5.6,
    "certainty": "counted",
    "error": 0.0,
    "sampled_rows": 28,
    "rate": {"rows_per_second": 5.0, "basis": "limit"},
    "cassandra": None,
    "notes": ["the database has no estimate of k.t"],
}


class FakeEstimator:
    """Answers every estimate alike."""

    def __init__(self) -> None:
        self.requests: list[JobRequest] = []
        self.more: dict[str, Any] = {}

    async def estimate(self, request: JobRequest) -> Mapping[str, Any]:
        for object_type in request.types:
            if object_type not in SETTINGS:
                raise UnknownObjectTypeError(object_type, SETTINGS)
        self.requests.append(request)
        types = {each: {**ESTIMATE, **self.more} for each in request.types or sorted(SETTINGS)}
        total = {"rows": 28 * len(types), "bytes": 2800 * len(types), "seconds": 5.6 * len(types)}
        return {"dry_run": True, "types": types, "total": total}


class FakeIndices:
    """An alias with an index that is kept, and others without."""

    def __init__(self) -> None:
        self.live, self.kept = "user-000002", "user-000001"
        self.failure: CdcError | None = None

    async def list(self) -> Sequence[Mapping[str, Any]]:
        self._check("user")
        return [
            {
                "type": "user",
                "alias": "user",
                "live": self.live,
                "other": self.kept,
                "phase": "kept",
                "written": True,
                "behind": False,
                "live_documents": 7,
                "other_documents": 7,
            }
        ]

    async def rollback(self, object_type: str, *, dry_run: bool = False, behind: bool = False) -> Mapping[str, Any]:
        self._check(object_type)
        if not dry_run:
            self.live, self.kept = self.kept, self.live
        job = "0" * 16 if behind else None
        return {"type": object_type, "live": self.live, "kept": self.kept, "dry_run": dry_run, "job": job}

    async def drop(self, object_type: str, *, dry_run: bool = False) -> Mapping[str, Any]:
        self._check(object_type)
        return {"type": object_type, "dropped": self.kept, "phase": "kept", "live": self.live, "dry_run": dry_run}

    def _check(self, object_type: str) -> None:
        if object_type not in SETTINGS:
            raise UnknownObjectTypeError(object_type, SETTINGS)
        if object_type != "user":
            raise IndexSwapError("expected a second index, found only the live one", alias=object_type)
        if self.failure is not None:
            raise self.failure


class FakeDaemon:
    """What the HTTP surface sees."""

    def __init__(
        self,
        store: Store | None = None,
        *,
        suspended: Mapping[str, str] | None = None,
        pipeline: FakePipeline | None = None,
        **limits: Any,
    ) -> None:
        self.metrics = Metrics()
        self.loops: dict[str, LoopState] = {"tail": LoopState(1_700_000_000.5, ok=True)}
        self.reloader: ReloadView | None = FakeReloader()
        self.others: list[Mapping[str, Any]] = [{"peer": "b", "state": "unreachable", "error": "no answer"}]
        self.state: dict[str, Any] = {"pending": 3, "schedule": [asdict(SCHEDULED) | {"next": None}]}
        self.lines: dict[str, Any] = {"step": 10.0, "end": None, "lines": []}
        self.checks = {"started": True}
        self.node_id = "node-1"
        self.questions = PeerQuestions()
        self.pipeline = pipeline or FakePipeline()
        self.health = FakeHealth()
        self.refresher = FakeRefresher()
        self.control: FakeControl | None = FakeControl()
        suspended = suspended or {}
        mappings = [DocumentMapping(name, SETTINGS[name], TABLES[name]) for name in SETTINGS if name not in suspended]
        self.service = SyncService(
            self.pipeline,
            mappings=mappings,
            settings=SETTINGS,
            refresher=self.refresher,
            servers=self.health,
            suspended=suspended,
        )
        self.sync: SyncService | None = self.service
        self.jobs: SyncJobRunner | None = SyncJobRunner(
            self.service, NO_JOBS if store is None else store.sync_jobs, **limits
        )

        self.measured = 0
        self.range_jobs: FakeRangeJobs | None = FakeRangeJobs()
        self.estimator: FakeEstimator | None = FakeEstimator()
        self.indices: FakeIndices | None = FakeIndices()

    @property
    def registry(self) -> CollectorRegistry:
        return self.metrics.registry

    def measure(self) -> None:
        self.measured += 1

    def livez(self) -> Mapping[str, LoopState]:
        return self.loops

    def readyz(self) -> Mapping[str, bool]:
        return self.checks

    def status(self) -> Mapping[str, Any]:
        return self.state

    async def statuses(self) -> Sequence[Mapping[str, Any]]:
        return [{"state": "running", **self.state, "peer": None, "error": None}, *self.others]

    def trend(self) -> Mapping[str, Any]:
        return self.lines

    def answered(self, route: str, status: int, seconds: float) -> None:
        self.metrics.http_requests.labels(route, str(status)).inc()
        assert seconds >= 0


@asynccontextmanager
async def running(directory: Path, **limits: Any) -> AsyncIterator[FakeDaemon]:
    """Give a daemon whose jobs are worked off."""
    store = Store(directory)
    daemon = FakeDaemon(store, **limits)
    assert daemon.jobs is not None
    work = asyncio.create_task(daemon.jobs.run())
    try:
        yield daemon
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        store.close()
