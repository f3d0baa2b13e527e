"""A new index beside the live one: filled, compared with the rows, and swapped in without a failing search.

The existing indices are read from Elasticsearch each time; the job only stores which index is its own. So it resumes
at any point: before the index was created, while it was filled or compared, before or after the swap.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import structlog

from cdc_daemon.cassandra.ring import LARGEST, WHOLE_RING, TokenRange
from cdc_daemon.model.errors import IndexSwapError
from cdc_daemon.model.signal import Key
from cdc_daemon.search.index_swap import AliasIndices, Phase
from cdc_daemon.search.indices import IndexDefinition
from cdc_daemon.search.swap_steps import SwapSteps
from cdc_daemon.search.swap_writer import Refusals
from cdc_daemon.store.range_jobs import CHECK, DOCUMENTS, ROWS, JobRange
from cdc_daemon.tablejobs.findings import remaining
from cdc_daemon.tablejobs.range_job import JobRun

log = structlog.get_logger(__name__)

MOST_CHECKS = 3
"""Comparisons of an index with its rows, each with repairs, before the job gives up on the index."""

_CHECK_INTERVAL = 0.25


class BackfillWork(Protocol):
    """The backfill that fills the index."""

    async def work(self, run: JobRun, part: JobRange) -> None:
        """Process the rest of a range."""
        ...

    async def finish(self, run: JobRun) -> None:
        """Finish the job when each range is done."""
        ...


class IndexComparison(Protocol):
    """The comparison of the index with the rows."""

    async def compare(
        self,
        run: JobRun,
        part: JobRange,
        *,
        repair: bool,
        index: str | None = None,
        is_dead_letter: Callable[[Key], bool],
    ) -> None:
        """Compare a range with an index."""
        ...


class NewIndex:
    """Runs backfills, and with `new_index` builds a new index and swaps it in.

    `definitions` returns the definition of an object type's index as declared. `is_dead` returns whether the document
    of a key under an alias is a dead letter. `refused` holds the writes that the index being built refused, by alias.
    Every daemon marks an index that refuses a change as behind. The mark is removed only before a comparison. If it is
    set again afterwards, another comparison follows, so no change is missed. Raises `IndexSwapError` if the existing
    indices do not permit a swap, or if the new index still differs from the rows after the last comparison.
    """

    def __init__(
        self,
        filling: BackfillWork,
        comparing: IndexComparison,
        changes: SwapSteps,
        *,
        definitions: Callable[[str], IndexDefinition],
        is_dead: Callable[[Key, str], bool],
        refused: Mapping[str, Refusals],
    ) -> None:
        self._filling = filling
        self._comparing = comparing
        self._changes = changes
        self._definitions = definitions
        self._is_dead = is_dead
        self._refused = refused
        self._locks: WeakKeyDictionary[JobRun, asyncio.Lock] = WeakKeyDictionary()
        self._prepared: set[str] = set()

    async def work(self, run: JobRun, part: JobRange) -> None:
        """Fill, or compare, the rest of a range."""
        if run.request.new_index:
            await self._prepare(run)
        if part.side == ROWS:
            await self._filling.work(run, part)
            return
        while not await run.is_done(part.object_type, ROWS):  # noqa: ASYNC110 -- other tasks may still process the last of them
            await asyncio.sleep(_CHECK_INTERVAL)
        alias = self._definitions(part.object_type).alias
        if (await self._changes.indices(alias)).live == _plan(run, part.object_type)["index"]:
            await run.move(part, part.last, part.rows, done=True)
            return
        await self._compare(run, part)

    async def finish(self, run: JobRun) -> None:
        """Swap in each index that equals its rows."""
        await self._filling.finish(run)
        if not run.request.new_index:
            return
        await self._prepare(run)
        failures = []
        for object_type in run.request.types:
            try:
                await self._swap_in(run, object_type)
            except IndexSwapError as error:
                failures.append(error)
        if len(failures) > 1:
            raise IndexSwapError("; ".join(str(error) for error in failures), hint=failures[0].hint)
        if failures:
            raise failures[0]

    async def plan(self, object_type: str) -> Mapping[str, Any]:
        """Return the index that would be built, and try out whether it can be created. Nothing is changed.

        Raises `IndexSwapError` and `IndexRefusedError`.
        """
        definition = self._definitions(object_type)
        chosen = await self._choose(await self._changes.indices(definition.alias), definition)
        await self._changes.try_out(replace(definition, index=chosen["index"]))
        return {name: chosen[name] for name in ("index", "in_place_of", "resumed")}

    async def _prepare(self, run: JobRun) -> None:
        """Ensure that each index exists and that every daemon writes to it, before its first row is read."""
        async with self._locks.setdefault(run, asyncio.Lock()):
            if run.job.id in self._prepared:
                return
            for object_type in run.request.types:
                await self._prepare_type(run, object_type)
            await self._changes.wait_seen()
            self._prepared.add(run.job.id)

    async def _prepare_type(self, run: JobRun, object_type: str) -> None:
        definition = self._definitions(object_type)
        pair = await self._changes.indices(definition.alias)
        plans = run.found.setdefault("new_index", {})
        if object_type not in plans:
            plans[object_type] = await self._choose(pair, definition)
            # Stored before the index is created, so that the job recognises the index as its own after a crash.
            await run.store_findings()
        plan = plans[object_type]
        index = plan["index"]
        made = replace(definition, index=index)
        if pair.live == index:
            return
        if (pair.other, pair.phase) == (index, Phase.BUILDING):
            if drift := await self._changes.drift(made, index):
                raise IndexSwapError(
                    f"expected an index as declared, found {'; '.join(map(str, drift[:3]))}",
                    hint=f"the declaration has changed since it was created: `cdc-daemon drop-index {object_type}`, "
                    "then start the backfill again",
                    index=index,
                )
            if not pair.both_written:
                await self._changes.resume_writes(pair)
        elif plan["created"]:
            raise _index_lost(definition.alias, index)
        else:
            await self._changes.create(made, pair)
        if not plan["created"]:
            plan["created"] = True
            await run.store_findings()
            log.info("new_index.begun", alias=definition.alias, index=index, live=pair.live)

    async def _choose(self, pair: AliasIndices, definition: IndexDefinition) -> dict[str, Any]:
        """Return the index to build: the unfinished one if there is one, otherwise a new one."""
        if pair.live is None or pair.shared:
            raise IndexSwapError(
                "expected one index behind the alias" + (", found several" if pair.shared else ", found none"),
                hint="only an alias with one index can be swapped",
                alias=pair.alias,
            )
        if pair.phase in {Phase.KEPT, Phase.DROPPING}:
            raise IndexSwapError(
                f"expected no second index, found {pair.other}, which is kept for a rollback",
                hint="`cdc-daemon drop-index TYPE` deletes it when it is no longer needed",
                alias=pair.alias,
            )
        resumed = pair.other is not None
        index = pair.other or await self._changes.free_name(definition, pair.live)
        return {"index": index, "in_place_of": pair.live, "created": False, "resumed": resumed, "swapped": False}

    async def _swap_in(self, run: JobRun, object_type: str) -> None:
        definition = self._definitions(object_type)
        plan = _plan(run, object_type)
        index = plan["index"]
        pair = await self._changes.indices(definition.alias)
        if pair.live != index:
            self._check_still_building(pair, index)
            await self._changes.complete(definition, index)
            await self._changes.exchange(await self._check_equal(run, object_type, definition.alias))
        if not plan["swapped"]:
            await self._repeat_refused(run, object_type, definition.alias)
        plan["swapped"] = True
        await run.store_findings()

    async def _check_equal(self, run: JobRun, object_type: str, alias: str) -> AliasIndices:
        """Return the indices when the new one equals the rows and has refused nothing since it was compared.

        If mismatches remain, the index is compared again: an in-flight change may have looked like a mismatch.
        """
        plan = _plan(run, object_type)
        for checks in range(MOST_CHECKS):
            pair = await self._changes.indices(alias)
            self._check_still_building(pair, plan["index"])
            if not (pair.behind or plan.get("compare_again") or _count_remaining(run, object_type)):
                return pair
            if checks == MOST_CHECKS - 1:
                break
            # Stored before the mark is removed: after a crash, the missing mark must not count as an equal index.
            plan["compare_again"] = True
            await run.store_findings()
            if pair.behind:
                await self._changes.unmark_behind(alias, plan["index"])
            await self._compare_whole(run, object_type)
            plan["compare_again"] = False
            await run.store_findings()
        refusal = self._refused.get(alias)
        if remaining_count := _count_remaining(run, object_type):
            reason = "" if refusal is None else f"; it refuses {refusal.id} and others: {refusal.reason}"
            found = f"expected an index equal to the rows, found {remaining_count} documents that differ{reason}"
        else:
            reason = "" if refusal is None else f", the last {refusal.id}: {refusal.reason}"
            found = (
                f"expected an index that takes every change, found that it refused some after each comparison{reason}"
            )
        raise IndexSwapError(
            found,
            hint="the alias was not swapped. Fix the cause and start the backfill again: it continues with this index, "
            f"unless `cdc-daemon drop-index {object_type}` deletes it",
            index=plan["index"],
        )

    async def _repeat_refused(self, run: JobRun, object_type: str, alias: str) -> None:
        """Repeat the changes that the index refused just before it was swapped in.

        Each such change is written once more: a change that is refused now becomes a dead letter.
        """
        await self._changes.wait_seen()
        if (await self._changes.indices(alias)).live_behind:
            await self._compare_whole(run, object_type)
            await self._changes.unmark_behind(alias, _plan(run, object_type)["index"])

    async def _compare_whole(self, run: JobRun, object_type: str) -> None:
        run.found.get("types", {}).pop(object_type, None)
        for side, (first, last) in ((CHECK, WHOLE_RING), (DOCUMENTS, TokenRange(0, LARGEST))):
            whole = JobRange(number=-1, object_type=object_type, first=first, last=last, cursor=first, side=side)
            await self._compare(run.beside(), whole)

    async def _compare(self, run: JobRun, part: JobRange) -> None:
        alias = self._definitions(part.object_type).alias
        index = _plan(run, part.object_type)["index"]
        pair = await self._changes.indices(alias)
        if pair.live != index:
            self._check_still_building(pair, index)
        await self._comparing.compare(
            run, part, repair=True, index=index, is_dead_letter=lambda key: self._is_dead(key, alias)
        )

    def _check_still_building(self, pair: AliasIndices, index: str) -> None:
        if (pair.other, pair.phase) != (index, Phase.BUILDING):
            raise _index_lost(pair.alias, index)
        if not pair.both_written:
            raise IndexSwapError(
                "expected an index that receives every change, found one that took no writes for too long",
                hint="check that its shards are assigned and not blocked, then start the backfill again",
                alias=pair.alias,
                index=index,
            )


def _plan(run: JobRun, object_type: str) -> dict[str, Any]:
    plan: dict[str, Any] = run.found["new_index"][object_type]
    return plan


def _count_remaining(run: JobRun, object_type: str) -> int:
    found = run.found.get("types", {}).get(object_type)
    return 0 if found is None else remaining({"types": {object_type: found}})


def _index_lost(alias: str, index: str) -> IndexSwapError:
    return IndexSwapError(
        f"expected the index {index}, which is being built, found that it was removed or replaced",
        hint="start the backfill again",
        alias=alias,
    )
