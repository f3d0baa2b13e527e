"""The indices behind the aliases, for operators: list them, restore the previous one, delete the second one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import structlog

from cdc_daemon.model.errors import ElasticsearchRefusedError, ElasticsearchUnavailableError, IndexSwapError
from cdc_daemon.search.documents import count_documents
from cdc_daemon.search.engine import SearchEngine
from cdc_daemon.search.index_swap import AliasIndices, Phase
from cdc_daemon.search.swap_steps import SwapSteps
from cdc_daemon.sources.requests.errors import UnknownObjectTypeError
from cdc_daemon.tablejobs.range_job import JobRequest
from cdc_daemon.tablejobs.runner import RangeJobReport

log = structlog.get_logger(__name__)


class JobStarter(Protocol):
    """Starts jobs and lists them."""

    async def start(self, request: JobRequest) -> RangeJobReport:
        """Submit a job durably."""
        ...

    async def newest(self, limit: int) -> Sequence[RangeJobReport]:
        """Return the status of the newest jobs, newest first."""
        ...


class IndexAdmin:
    """Lists the indices of each object type, and changes them. `aliases` are those of the types.

    Methods raise `UnknownObjectTypeError`, `IndexSwapError`, `ElasticsearchUnavailableError` and
    `ElasticsearchRefusedError`. With `dry_run` they return what they would do, and do nothing.
    """

    def __init__(
        self, aliases: Mapping[str, str], *, engine: SearchEngine, changes: SwapSteps, jobs: JobStarter
    ) -> None:
        self._aliases = aliases
        self._engine = engine
        self._changes = changes
        self._jobs = jobs

    async def list(self) -> Sequence[Mapping[str, Any]]:
        """Return the indices of each object type, in plain values, with the number of documents."""
        listed = []
        for object_type in sorted(self._aliases):
            pair = await self._changes.indices(self._aliases[object_type])
            counts = {}
            for which, index in (("live", pair.live), ("other", pair.other)):
                counts[f"{which}_documents"] = None if index is None else await self._count(index)
            listed.append({"type": object_type, **pair.plain(), **counts})
        return listed

    async def rollback(self, object_type: str, *, dry_run: bool = False, behind: bool = False) -> Mapping[str, Any]:
        """Make the previous index live again, and keep the current one. A second call reverses this.

        An index that lacks changes is restored only with `behind`. Afterwards it is compared with the rows and
        repaired.
        """
        pair = await self._pair(object_type)
        if pair.phase is not Phase.KEPT:
            raise IndexSwapError(
                "expected an index that is kept, found none",
                hint=f"`cdc-daemon backfill {object_type} --new-index` keeps the previous index until it is dropped",
                alias=pair.alias,
            )
        lacks = pair.behind or not pair.both_written
        if lacks and not behind:
            raise IndexSwapError(
                f"expected an index that contains every change, found {pair.other}, which lacks some",
                hint="`--behind` restores it anyway, then compares it with the rows and repairs it",
                alias=pair.alias,
            )
        planned: dict[str, Any] = {
            "type": object_type,
            "live": pair.other,
            "kept": pair.live,
            "dry_run": dry_run,
            "job": None,
        }
        if dry_run:
            return planned
        await self._changes.exchange(pair)
        if lacks:
            report = await self._jobs.start(JobRequest(kind="reconcile", types=(object_type,), repair=True))
            planned["job"] = report.job.id
        return planned

    async def drop(self, object_type: str, *, dry_run: bool = False) -> Mapping[str, Any]:
        """Delete the index that is kept, or that was being built; never the live one."""
        pair = await self._pair(object_type)
        if pair.other is None:
            raise IndexSwapError("expected a second index, found only the live one", alias=pair.alias, index=pair.live)
        if pair.phase is Phase.BUILDING and (job := await self._building(object_type)) is not None:
            raise IndexSwapError(
                f"expected an index that no job fills, found the job {job}",
                hint=f"`cdc-daemon jobs cancel {job}` cancels it",
                alias=pair.alias,
                index=pair.other,
            )
        if not dry_run:
            await self._changes.drop(pair)
        return {
            "type": object_type,
            "dropped": pair.other,
            "phase": None if pair.phase is None else pair.phase.value,
            "live": pair.live,
            "dry_run": dry_run,
        }

    async def _pair(self, object_type: str) -> AliasIndices:
        if object_type not in self._aliases:
            raise UnknownObjectTypeError(object_type, self._aliases)
        return await self._changes.indices(self._aliases[object_type])

    async def _building(self, object_type: str) -> str | None:
        for report in await self._jobs.newest(1000):
            options = report.job.options
            if report.job.open and options.get("new_index") and object_type in options.get("types", ()):
                return report.job.id
        return None

    async def _count(self, index: str) -> int | None:
        """Return the number of documents in an index; None if shards are unassigned, as just after its creation."""
        try:
            return await count_documents(self._engine, index)
        except (ElasticsearchUnavailableError, ElasticsearchRefusedError):
            return None
