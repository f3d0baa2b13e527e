"""What the HTTP surface may know of the daemon, and ask of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from prometheus_client import CollectorRegistry

from cdc_daemon.pipeline.gate import Pause
from cdc_daemon.sources.replay.replay import Replay, Replayed
from cdc_daemon.sources.requests import Asked, Refresh, SyncOutcome
from cdc_daemon.sources.requests.jobs import JobReport
from cdc_daemon.store.dead_letters import DeadLetter, Facet
from cdc_daemon.store.jobs import Job
from cdc_daemon.store.letter_filter import LetterFilter
from cdc_daemon.tablejobs.request import JobRequest
from cdc_daemon.tablejobs.runner import JobReport as RangeJobReport


class LoopState(NamedTuple):
    """One of the daemon's loops: when it last came round (seconds since epoch), and whether that is soon enough."""

    last_beat: float
    ok: bool


class SyncView(Protocol):
    """Rows by name."""

    @property
    def object_types(self) -> Sequence[str]:
        """The types that may be asked for."""
        ...

    async def read(self, object_type: str, ids: Sequence[Any]) -> list[Asked]:
        """Return what ids stand for. It waits for no server, only for others' turns.

        Raises `UnknownObjectTypeError`, `HeldObjectTypeError` and `InvalidIdError`.
        """
        ...

    async def settle(
        self, object_type: str, asked: Sequence[Asked], *, seconds: float | None = None, refresh: Refresh = Refresh.NO
    ) -> SyncOutcome:
        """Settle each id, read after this call. Raises `NotSettledError`."""
        ...


class JobsView(Protocol):
    """Rows by name, later but surely."""

    async def start(self, object_type: str, ids: Sequence[Any], *, refresh: Refresh = Refresh.NO) -> Job:
        """Take a job in durably. Raises `TooManyJobsError`, what `SyncView.read` raises, and `StoreError`."""
        ...

    async def report(self, identity: str) -> JobReport | None:
        """Return how far a job is; None when there is none."""
        ...

    async def cancel(self, identity: str) -> JobReport | None:
        """Cancel a job that has not ended and return its report; None when there is none. Raises `StoreError`."""
        ...


class ControlView(Protocol):
    """What an operator may do."""

    def pause(self, by: str) -> Pause:
        """Stop reading changes from the commit log; requests for rows go on. Return who paused it first, and when."""
        ...

    def resume(self, by: str) -> None:
        """Follow the commit log again."""
        ...

    async def dead_letters(self, limit: int, wanted: LetterFilter) -> Sequence[DeadLetter]:
        """Return the newest of the dead letters wanted, newest first."""
        ...

    async def count_dead_letters(self, wanted: LetterFilter) -> int:
        """Return how many dead letters there are of those wanted."""
        ...

    async def count_dead_letters_by(self, wanted: LetterFilter, column: Facet) -> Mapping[str, int]:
        """Return how many dead letters of those wanted there are for each value of a column, most frequent first."""
        ...

    async def replay(self, wanted: LetterFilter, limit: int) -> Replay:
        """Replay the oldest of the dead letters wanted. Raises `StoreError`."""
        ...

    async def replay_one(self, identity: int) -> Replayed | None:
        """Replay one dead letter; None when there is none of this id. Raises `StoreError`."""
        ...

    async def drop_dead_letter(self, identity: int) -> bool:
        """Forget a dead letter; tell whether there was one of this id. Raises `StoreError`."""
        ...

    async def drop_dead_letters(self, wanted: LetterFilter) -> int:
        """Delete the dead letters wanted; return how many there were. Raises `StoreError`."""
        ...

    async def sync_jobs(self, limit: int) -> Sequence[Job]:
        """Return the newest requests that were answered before they were done, newest first."""
        ...

    def configuration(self) -> Mapping[str, Any]:
        """Return what the daemon runs with, without secrets."""
        ...


class RangeJobsView(Protocol):
    """Work on whole tables, later but surely."""

    async def start(self, request: JobRequest) -> RangeJobReport:
        """Take a job in durably. Raises `UnknownObjectTypeError`, `TooManyJobsError`, `StoreError` and `CdcError`."""
        ...

    async def report(self, identity: str) -> RangeJobReport | None:
        """Tell how far a job is; None when there is none."""
        ...

    async def newest(self, limit: int) -> Sequence[RangeJobReport]:
        """Tell of the newest jobs, newest first."""
        ...

    async def cancel(self, identity: str) -> RangeJobReport | None:
        """End a job; None when there is none."""
        ...


class IndicesView(Protocol):
    """The indices behind the aliases.

    Methods raise `UnknownObjectTypeError`, `IndexPairError` and `CdcError`; with `dry_run` they only tell what they
    would do.
    """

    async def list(self) -> Sequence[Mapping[str, Any]]:
        """Return what there is of each object type."""
        ...

    async def rollback(self, object_type: str, *, dry_run: bool = False, behind: bool = False) -> Mapping[str, Any]:
        """Put the index back that was live before; with `behind` also one that lacks changes."""
        ...

    async def drop(self, object_type: str, *, dry_run: bool = False) -> Mapping[str, Any]:
        """Delete the index that is kept, or that was being built."""
        ...


class DaemonView(Protocol):
    """A running daemon, seen from outside. What is no coroutine is at hand: it waits for no server.

    `sync`, `jobs`, `range_jobs`, `indices` and `control` are None while the daemon starts or stops.
    """

    @property
    def registry(self) -> CollectorRegistry:
        """The registry of the daemon's metrics."""
        ...

    @property
    def node_id(self) -> str:
        """What the daemon is called in answers."""
        ...

    @property
    def sync(self) -> SyncView | None:
        """Rows by name."""
        ...

    @property
    def jobs(self) -> JobsView | None:
        """Rows by name, later."""
        ...

    @property
    def range_jobs(self) -> RangeJobsView | None:
        """Work on whole tables."""
        ...

    @property
    def indices(self) -> IndicesView | None:
        """The indices behind the aliases."""
        ...

    @property
    def control(self) -> ControlView | None:
        """What an operator may do."""
        ...

    def livez(self) -> Mapping[str, LoopState]:
        """Tell of each loop whether it beats. What Cassandra or Elasticsearch do has no part in this."""
        ...

    def readyz(self) -> Mapping[str, bool]:
        """Tell of each thing that requests for rows need of the daemon itself whether it is there."""
        ...

    def status(self) -> Mapping[str, Any]:
        """Tell what the daemon does and how far it is, in plain values."""
        ...

    def trend(self) -> Mapping[str, Any]:
        """Tell how a few measures went in the last hour, in plain values."""
        ...

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Take note of a request for rows, or an operator's, that was answered."""
        ...
