"""The HTTP surface's interface to the daemon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from prometheus_client import CollectorRegistry

from cdc_daemon.peers.questions import PeerQuestions
from cdc_daemon.pipeline.gate import Pause
from cdc_daemon.sources.dead_letters.replay import ReplayedLetter, ReplayResult
from cdc_daemon.sources.requests import Refresh, RequestedId, SyncOutcome
from cdc_daemon.sources.requests.jobs import SyncJobReport
from cdc_daemon.store.dead_letter_filter import DeadLetterFilter
from cdc_daemon.store.dead_letters import DeadLetter, Facet
from cdc_daemon.store.sync_jobs import SyncJob
from cdc_daemon.tablejobs.range_job import JobRequest
from cdc_daemon.tablejobs.runner import RangeJobReport


class LoopState(NamedTuple):
    """State of one of the daemon's loops: when it last ran (seconds since epoch), and whether that is recent enough."""

    last_beat: float
    ok: bool


class SyncView(Protocol):
    """Replicates rows on request."""

    @property
    def object_types(self) -> Sequence[str]:
        """The object types that may be requested."""
        ...

    async def parse(self, object_type: str, ids: Sequence[Any]) -> list[RequestedId]:
        """Return the keys for the ids. It does no I/O.

        Raises `UnknownObjectTypeError`, `SuspendedObjectTypeError` and `InvalidIdError`.
        """
        ...

    async def parse_valid(self, object_type: str, ids: Sequence[Any]) -> tuple[list[RequestedId], dict[int, str]]:
        """Return the keys for the valid ids, and why the others are invalid, by their index. It does no I/O.

        Raises `UnknownObjectTypeError` and `SuspendedObjectTypeError`.
        """
        ...

    async def replicate(
        self,
        object_type: str,
        asked: Sequence[RequestedId],
        *,
        seconds: float | None = None,
        refresh: Refresh = Refresh.NO,
    ) -> SyncOutcome:
        """Read each id's row after this call and write its document. Raises `NotReplicatedError`."""
        ...


class JobsView(Protocol):
    """Durable jobs that replicate rows on request."""

    async def start(self, object_type: str, ids: Sequence[Any], *, refresh: Refresh = Refresh.NO) -> SyncJob:
        """Record a job durably. Raises `TooManyJobsError`, the errors of `SyncView.parse`, and `StoreError`."""
        ...

    async def start_file(self, object_type: str, content: bytes, *, refresh: Refresh = Refresh.NO) -> SyncJob:
        """Record a job for the ids in a file; its wrong lines are failures of the job. Raises as `start` does."""
        ...

    async def report(self, identity: str) -> SyncJobReport | None:
        """Return a job's progress; None when there is no such job."""
        ...

    async def cancel(self, identity: str) -> SyncJobReport | None:
        """Cancel a job that has not ended; return its report, None when there is none. Raises `StoreError`."""
        ...


class ControlView(Protocol):
    """An operator's actions."""

    def pause(self, by: str) -> Pause:
        """Stop reading changes from the commit log; requests for rows go on. Return who paused it first, and when."""
        ...

    def resume(self, by: str) -> None:
        """Read changes from the commit log again."""
        ...

    async def dead_letters(self, limit: int, wanted: DeadLetterFilter) -> Sequence[DeadLetter]:
        """Return the newest matching dead letters, newest first."""
        ...

    async def count_dead_letters(self, wanted: DeadLetterFilter) -> int:
        """Count the matching dead letters."""
        ...

    async def count_dead_letters_by(self, wanted: DeadLetterFilter, column: Facet) -> Mapping[str, int]:
        """Count the matching dead letters by each value of a column, most frequent first."""
        ...

    async def replay(self, wanted: DeadLetterFilter, limit: int) -> ReplayResult:
        """Replay the oldest matching dead letters. Raises `StoreError`."""
        ...

    async def replay_one(self, identity: int) -> ReplayedLetter | None:
        """Replay the dead letter with this id; None when there is none. Raises `StoreError`."""
        ...

    async def drop_dead_letter(self, identity: int) -> bool:
        """Delete the dead letter with this id; return whether there was one. Raises `StoreError`."""
        ...

    async def drop_dead_letters(self, wanted: DeadLetterFilter) -> int:
        """Delete the matching dead letters; return how many there were. Raises `StoreError`."""
        ...

    async def sync_jobs(self, limit: int) -> Sequence[SyncJob]:
        """Return the newest jobs of asynchronous requests, newest first."""
        ...

    def configuration(self) -> Mapping[str, Any]:
        """Return the daemon's effective configuration, without secrets."""
        ...


class RangeJobsView(Protocol):
    """Durable jobs on whole tables."""

    async def start(self, request: JobRequest) -> RangeJobReport:
        """Record a job durably. Raises `UnknownObjectTypeError`, `TooManyJobsError`, `StoreError` and `CdcError`."""
        ...

    async def report(self, identity: str) -> RangeJobReport | None:
        """Return a job's progress; None when there is no such job."""
        ...

    async def newest(self, limit: int) -> Sequence[RangeJobReport]:
        """Return the newest jobs, newest first."""
        ...

    async def cancel(self, identity: str) -> RangeJobReport | None:
        """Cancel a job; None when there is no such job."""
        ...


class EstimatorView(Protocol):
    """Estimates backfills without changing anything."""

    async def estimate(self, request: JobRequest) -> Mapping[str, Any]:
        """Return the rows, bytes and seconds of a backfill, by type. Raises `UnknownObjectTypeError` and `CdcError`."""
        ...


class IndicesView(Protocol):
    """The indices behind the aliases.

    Methods raise `UnknownObjectTypeError`, `IndexSwapError` and `CdcError`. With `dry_run` they only return what they
    would do.
    """

    async def list(self) -> Sequence[Mapping[str, Any]]:
        """Return the indices of each object type."""
        ...

    async def rollback(self, object_type: str, *, dry_run: bool = False, behind: bool = False) -> Mapping[str, Any]:
        """Switch back to the previous live index; with `behind` also to one that lacks changes."""
        ...

    async def drop(self, object_type: str, *, dry_run: bool = False) -> Mapping[str, Any]:
        """Delete the kept previous index, or the one that was being built."""
        ...


class ReloadView(Protocol):
    """Reads the configuration again."""

    async def reload(self, by: str) -> Mapping[str, Any]:
        """Apply the present configuration, or refuse it; return the result in plain values. `by` is who asked."""
        ...


class HealthView(Protocol):
    """What the probes and Prometheus ask. Synchronous members do no I/O."""

    @property
    def registry(self) -> CollectorRegistry:
        """The registry of the daemon's metrics."""
        ...

    def measure(self) -> None:
        """Update the metrics that are otherwise exported once a second."""
        ...

    def livez(self) -> Mapping[str, LoopState]:
        """Return for each loop whether it is alive. It does not depend on Cassandra or the search engine."""
        ...

    def readyz(self) -> Mapping[str, bool]:
        """Return for each part of the daemon that requests for rows need whether it is ready."""
        ...


class DaemonView(HealthView, Protocol):
    """A running daemon, seen from outside. Synchronous members do no I/O.

    `sync`, `jobs`, `range_jobs`, `estimator`, `indices` and `control` are None while the daemon starts or stops.
    """

    @property
    def node_id(self) -> str:
        """The daemon's name in answers."""
        ...

    @property
    def sync(self) -> SyncView | None:
        """Replicates rows on request."""
        ...

    @property
    def jobs(self) -> JobsView | None:
        """Durable jobs that replicate rows on request."""
        ...

    @property
    def range_jobs(self) -> RangeJobsView | None:
        """Jobs on whole tables."""
        ...

    @property
    def estimator(self) -> EstimatorView | None:
        """Estimates backfills."""
        ...

    @property
    def indices(self) -> IndicesView | None:
        """The indices behind the aliases."""
        ...

    @property
    def control(self) -> ControlView | None:
        """An operator's actions."""
        ...

    @property
    def reloader(self) -> ReloadView | None:
        """Reads the configuration again; None for a daemon without a configuration file."""
        ...

    @property
    def questions(self) -> PeerQuestions:
        """The questions of other daemons of the ring."""
        ...

    def status(self) -> Mapping[str, Any]:
        """Return the daemon's activity and progress, in plain values."""
        ...

    async def statuses(self) -> Sequence[Mapping[str, Any]]:
        """Return short statuses of this daemon and of all other daemons, in plain values."""
        ...

    def trend(self) -> Mapping[str, Any]:
        """Return the last hour of a few measures, in plain values."""
        ...

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Record an answered request for rows or of an operator."""
        ...
