"""Writes to both indices of an alias while there are two; the live one comes first."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import structlog

from cdc_daemon.model.document_operation import Operation, Outcome, Result
from cdc_daemon.model.errors import CdcError
from cdc_daemon.search.alias_troubles import AliasTrouble
from cdc_daemon.search.bulk import BulkWriter
from cdc_daemon.search.failure import Failure
from cdc_daemon.search.index_swap import AliasIndices, direct
from cdc_daemon.search.swap_watch import IndicesByAlias, SwapWatch

log = structlog.get_logger(__name__)

PATIENCE = 60.0
"""Seconds for which writes wait for the other index if it rejects writes and the live one accepts them."""

MarkIndex = Callable[[AliasIndices], Awaitable[None]]
"""Stores durably, for all daemons, that the other index of an alias lacks changes."""


class Refusals(NamedTuple):
    """Documents that the live index of an alias accepted and the other one rejected: their number, and the last one."""

    documents: int
    id: str
    reason: str


@dataclass(slots=True)
class _Other:
    """The writer of an index that is not live, and the time (seconds) since which the index accepts nothing."""

    writer: BulkWriter
    troubled: float | None = None


class SwapWriter:
    """Completes an operation when both indices have an outcome, so that each of them can replace the other.

    A rejection by the other index does not affect the live one: the live one's outcome counts. The other one is marked
    as `behind` before such a change is acknowledged, so that it is not made live in that state. If it accepts nothing
    for `patience` seconds while the live one does, writes to it stop. `stop_writes` and `mark_behind` make that
    durable.
    """

    def __init__(
        self,
        live: BulkWriter,
        other: Callable[[], BulkWriter],
        watch: SwapWatch,
        *,
        stop_writes: MarkIndex,
        mark_behind: MarkIndex,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._live = live
        self._make_other = other
        self._watch = watch
        self._let_go = stop_writes
        self._mark_behind = mark_behind
        self._patience = patience
        self._clock = clock
        self._others: dict[str, _Other] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self.refused: dict[str, Refusals] = {}
        self._unknown: frozenset[str] = frozenset()
        self._changed: Callable[[], None] = lambda: None
        watch.changed = self._follow

    def trouble(self, alias: str) -> AliasTrouble | None:
        """Return why an alias rejects writes, or None if it accepts them; its live index counts."""
        unknown = self._watch.unknown.get(alias)
        if unknown is not None:
            return unknown
        if not self._live.troubled:
            return None
        indices = self._watch.last.get(alias)
        return self._live.trouble(direct(str(indices.live)) if indices is not None and indices.both_written else alias)

    def troubles(self) -> dict[str, AliasTrouble]:
        """Return why aliases reject writes, by alias."""
        if not self.troubled:
            return {}
        return {alias: trouble for alias in self._watch.last if (trouble := self.trouble(alias)) is not None}

    @property
    def troubled(self) -> bool:
        """Whether any alias rejects writes."""
        return bool(self._watch.unknown or self._live.troubled)

    def live_index(self, alias: str) -> str | None:
        """Return the live index of an alias as of the last check."""
        indices = self._watch.last.get(alias)
        return None if indices is None else indices.live

    def on_troubles_changed(self, changed: Callable[[], None]) -> None:
        """Call `changed` after each change of the set of aliases that reject writes."""
        self._changed = changed
        self._live.on_troubles_changed(changed)

    def hold(self, alias: str, error: CdcError) -> None:
        """Stop writes to an alias until the cause of an error is fixed."""
        self._live.hold(alias, error)

    @property
    def available(self) -> bool:
        """Whether Elasticsearch as a whole is available for writes."""
        return self._live.available

    @property
    def failure(self) -> Failure | None:
        """The last failure while Elasticsearch is unavailable."""
        return self._live.failure

    async def wait_available(self) -> None:
        """Wait until Elasticsearch is available for writes."""
        await self._live.wait_available()

    def doubt(self, alias: str) -> None:
        """Probe soon whether Elasticsearch accepts writes, because something other than a write has failed."""
        self._live.doubt(alias)

    async def close(self) -> None:
        """Stop the probes. The caller must close the engine."""
        await self._live.close()
        for each in self._others.values():
            await each.writer.close()
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def write(self, operations: Sequence[Operation]) -> list[Result]:
        """Write the operations to each of their indices, and return the results in the order of the operations.

        It raises nothing: an operation that cannot be completed is returned as REREAD.
        """
        try:
            current = await self._watch.known()
        except CdcError as error:
            failure = Failure(0, "aliases_unknown", error.message)
            self._live.lost(failure, operations)
            return [Result(Outcome.REREAD, failure.error_type, failure.reason, status=0)] * len(operations)
        unknown = self._watch.unknown
        if unknown and any(operation.alias in unknown for operation in operations):
            return await self._write_known(operations, {alias: each.failure for alias, each in unknown.items()})
        doubled = {
            at: indices
            for at, operation in enumerate(operations)
            if (indices := current.get(operation.alias)) is not None and indices.both_written
        }
        if not doubled:
            return await self._live.write(operations)
        by_other: dict[str, list[int]] = {}
        for at, indices in doubled.items():
            by_other.setdefault(str(indices.other), []).append(at)
        live_operations = [
            replace(operation, alias=direct(str(doubled[at].live))) if at in doubled else operation
            for at, operation in enumerate(operations)
        ]
        results, *others = await asyncio.gather(
            self._live.write(live_operations),
            *(self._write_other(doubled[places[0]], [operations[at] for at in places]) for places in by_other.values()),
        )
        for places, found in zip(by_other.values(), others, strict=True):
            await self._combine(doubled[places[0]], operations, results, places, found)
        return results

    async def _write_known(self, operations: Sequence[Operation], unknown: Mapping[str, Failure]) -> list[Result]:
        """Write only the operations with a checked alias; the others are returned as REREAD."""
        known = [at for at, operation in enumerate(operations) if operation.alias not in unknown]
        written = iter(await self.write([operations[at] for at in known]) if known else ())
        results: list[Result] = []
        for operation in operations:
            failure = unknown.get(operation.alias)
            if failure is None:
                results.append(next(written))
            else:
                results.append(Result(Outcome.REREAD, failure.error_type, failure.reason, status=failure.status))
        return results

    async def _write_other(self, indices: AliasIndices, operations: Sequence[Operation]) -> list[Result]:
        index = str(indices.other)
        other = self._others.get(index)
        if other is None:
            other = self._others[index] = _Other(self._make_other())
        results = await other.writer.write([replace(operation, alias=direct(index)) for operation in operations])
        failure = other.writer.failure
        if failure is None and (trouble := other.writer.trouble(direct(index))) is not None:
            failure = trouble.failure
        if failure is None:
            other.troubled = None
        elif self._live.available and self.trouble(indices.alias) is None:
            now = self._clock()
            other.troubled = other.troubled or now
            if now - other.troubled >= self._patience:
                await self._note(self._let_go, indices, failure)
                other.troubled = None
        return results

    async def _combine(
        self,
        indices: AliasIndices,
        operations: Sequence[Operation],
        results: list[Result],
        places: Sequence[int],
        found: Sequence[Result],
    ) -> None:
        refused: Refusals | None = None
        dead: dict[int, Result] = {}
        for at, other in zip(places, found, strict=True):
            live = results[at]
            if other.outcome is Outcome.REREAD:
                seen = max(live.seen_version or 0, other.seen_version or 0)
                results[at] = replace(
                    live if live.outcome is Outcome.REREAD else other,
                    seen_version=seen or None,
                    unanswered=live.unanswered or other.unanswered,
                )
            elif other.outcome is Outcome.DEAD and live.outcome not in {Outcome.DEAD, Outcome.REREAD}:
                before = refused or self.refused.get(indices.alias)
                reason = f"{other.error_type}: {other.reason}"
                refused = Refusals((before.documents if before else 0) + 1, operations[at].id, reason)
                dead[at] = other
        if refused is None:
            return
        self.refused[indices.alias] = refused
        log.warning(
            "elasticsearch.other_index_refuses",
            index=indices.other,
            phase=indices.phase,
            id=refused.id,
            reason=refused.reason,
            every=30,
            every_key=indices.alias,
        )
        if await self._must_be_repeated(indices, mark=True):
            for at, other in dead.items():
                results[at] = replace(other, outcome=Outcome.REREAD)

    async def _must_be_repeated(self, indices: AliasIndices, *, mark: bool) -> bool:
        """Return whether the changes that the other index of an alias rejected must be written again.

        This is true if it became live meanwhile, as its rejections then affect the live index. It is also true if it
        could not be marked as behind, as a swap would make it live without the changes. This needs a new check of the
        aliases. The second check detects a mark that came too late for a swap.
        """
        try:
            now = (await self._watch.look())[indices.alias]
        except CdcError:
            return True
        if now.other != indices.other or now.behind:
            return now.live == indices.other
        if not mark:
            return True
        await self._note(self._mark_behind, indices, None)
        return await self._must_be_repeated(indices, mark=False)

    async def _note(self, note: MarkIndex, indices: AliasIndices, failure: Failure | None) -> None:
        reason = None if failure is None else f"{failure.error_type}: {failure.reason}"
        try:
            await note(indices)
            await self._watch.look()
        except CdcError as error:
            log.warning("elasticsearch.other_index_not_marked", index=indices.other, error=error.message, every=30)
        else:
            log.warning("elasticsearch.other_index_behind", index=indices.other, phase=indices.phase, reason=reason)

    def _follow(self, current: IndicesByAlias) -> None:
        """Close the writers of indices that no longer receive writes, and drop unused names."""
        wanted = {indices.other for indices in current.values() if indices.both_written}
        for index in [index for index in self._others if index not in wanted]:
            task = asyncio.create_task(self._others.pop(index).writer.close(), name=f"close-{index}")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        names = {direct(str(indices.live)) if indices.both_written else indices.alias for indices in current.values()}
        self._live.keep_targets(names | set(current))
        for alias, indices in current.items():
            if indices.other is None:
                self.refused.pop(alias, None)
        unknown = frozenset(self._watch.unknown)
        if unknown != self._unknown:
            self._unknown = unknown
            self._changed()
