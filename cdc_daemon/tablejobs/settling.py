"""From a first check to a verdict: checks a difference again until it stands still, then counts and repairs it."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Protocol

import structlog

from cdc_daemon.model.document_operation import Operation, Outcome, Result
from cdc_daemon.model.key import Key
from cdc_daemon.model.signal import Scope, Signal
from cdc_daemon.pipeline.handover import BackgroundSink, hand_over
from cdc_daemon.search.document_versions import DocumentName
from cdc_daemon.search.stored_documents import fetch_documents
from cdc_daemon.tablejobs.comparison import Comparison
from cdc_daemon.tablejobs.difference import Account, Difference, Kind
from cdc_daemon.tablejobs.log_progress import Passing

log = structlog.get_logger(__name__)

ROUNDS = 5
"""Times that a difference is checked, each time after the changes in flight have passed."""

AT_ONCE = 500
"""Keys checked together."""

_REMOVALS = 3


class DirectWriter(Protocol):
    """Writes documents by their versions."""

    async def write(self, operations: Sequence[Operation]) -> list[Result]:
        """Write documents and return a result for each, in order."""
        ...


class Settling:
    """Judges differences of one object type, and with `repair` has them repaired.

    Repairs go through the pipeline as any change does: the row is read once more, and its document written at the
    version of that read. Only a document that cannot belong to any row is deleted directly, as it has no key to signal.
    """

    def __init__(
        self,
        comparison: Comparison,
        passing: Passing,
        account: Account,
        *,
        sink: BackgroundSink,
        writer: DirectWriter,
        alias: str,
        repair: bool,
        index: str | None = None,
        set_aside: Callable[[Key], bool] = lambda _key: False,
    ) -> None:
        self._comparison = comparison
        self._passing = passing
        self._account = account
        self._sink = sink
        self._writer = writer
        self._alias = alias
        self._repair = repair
        self._index = index or alias
        self._set_aside = set_aside

    async def judge(self, suspects: Mapping[Key, Difference], kinds: Container[Kind]) -> None:
        """Check differences again; count and repair those of these kinds that persist. Raises what checking raises.

        Each direction is responsible for its own kinds, so that nothing is counted twice.
        """
        open_suspects = {key: each for key, each in suspects.items() if each.kind in kinds}
        for _ in range(ROUNDS):
            if not open_suspects:
                return
            if not await self._passing.wait(list(open_suspects)):
                break
            looked, unreadable = await self._look(list(open_suspects))
            self._account.add(unreadable=len(unreadable))
            seen = {key: each for key, each in looked.items() if each.kind in kinds}
            for key in [key for key in seen if self._set_aside(key)]:
                del seen[key]
                self._account.add(unreadable=1)
            stands = {key: each for key, each in seen.items() if each.persists(open_suspects.get(key))}
            self._account.drift(stands.values())
            if stands and self._repair:
                await self._mend(stands)
            open_suspects = {key: each for key, each in seen.items() if key not in stands}
        self._account.add(unsettled=len(open_suspects))
        if self._repair:
            # Reading and writing them once more does no harm, and leaves nothing in doubt.
            await self._signal(list(open_suspects))

    async def judge_strangers(self, strangers: Sequence[Difference]) -> None:
        """Check documents again that cannot belong to any row; count those that still exist, and delete them."""
        left = await self._still_there(strangers)
        self._account.drift(left)
        if left and self._repair:
            for _ in range(_REMOVALS):
                await self._remove(left)
                there = await self._still_there(left)
                names = {(each.id, each.routing) for each in there}
                self._account.repaired(each for each in left if (each.id, each.routing) not in names)
                left = there
                if not left:
                    break

    async def _look(self, keys: Sequence[Key]) -> tuple[dict[Key, Difference], set[Key]]:
        """Return the current differences, and the keys of rows that no document can show now."""
        seen: dict[Key, Difference] = {}
        unreadable: set[Key] = set()
        for start in range(0, len(keys), AT_ONCE):
            look = await self._comparison.look(keys[start : start + AT_ONCE])
            seen.update(look.differences)
            unreadable.update(look.unreadable)
        return seen, unreadable

    async def _mend(self, stands: Mapping[Key, Difference]) -> None:
        keys = list(stands)
        await self._signal(keys)
        left, unreadable = await self._look(keys)
        self._account.repaired(each for key, each in stands.items() if key not in left and key not in unreadable)
        for difference in list(left.values())[:5]:
            log.warning("reconcile.not_repaired", index=self._alias, id=difference.id, kind=difference.kind.value)

    async def _signal(self, keys: Sequence[Key]) -> None:
        """Signal keys as for any change, and wait until they are written."""
        signals = [Signal(key.table, key.partition_key, Scope.ROW, key.clustering or ()) for key in keys]
        await hand_over(self._sink.submit_background, signals, alias=self._alias)

    async def _still_there(self, strangers: Sequence[Difference]) -> list[Difference]:
        names = [DocumentName(self._index, each.id, each.routing) for each in strangers]
        found = await fetch_documents(self._comparison.client, names, source=False)
        return [
            each._replace(version=document.version)
            for each, document in zip(strangers, found, strict=True)
            if document is not None
        ]

    async def _remove(self, strangers: Sequence[Difference]) -> None:
        now = time.monotonic()
        operations = [
            Operation(self._alias, each.id, (each.version or 0) + 1, None, now, each.routing) for each in strangers
        ]
        results = await self._writer.write(operations)
        for operation, result in zip(operations, results, strict=True):
            if result.outcome is not Outcome.DELETED:
                log.warning("reconcile.not_removed", index=self._alias, id=operation.id, reason=result.reason)
