"""The daemon's view of the indices behind its aliases, and the maximum age of that view."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog

from cdc_daemon.model.errors import CdcError, ElasticsearchRefusedError, ElasticsearchUnavailableError
from cdc_daemon.search.alias_troubles import AliasTrouble, track_failures
from cdc_daemon.search.engine import SearchEngine
from cdc_daemon.search.failure import attempting
from cdc_daemon.search.index_swap import AliasIndices, alias_names, direct, read_alias_indices
from cdc_daemon.search.indices import Completion, IndexManager

log = structlog.get_logger(__name__)

LOOK_INTERVAL = 1.0
"""Seconds between two checks."""

KNOWN_FOR = 3.0
"""Seconds after a check was sent for which writes may rely on its result."""

SEEN_BY_ALL = KNOWN_FOR + 0.5
"""Seconds after a change of aliases until every daemon's writes use it: none relies on an older check by then."""

IndicesByAlias = Mapping[str, AliasIndices]


class SwapWatch:
    """Polls the aliases, and prevents writes that rely on an outdated view.

    So after a change, all daemons have seen it within `SEEN_BY_ALL`, without any coordination. This includes daemons of
    other nodes, starting daemons and unknown daemons. `clock` returns monotonic seconds, `changed` receives the
    result of each check.
    """

    def __init__(
        self,
        engine: SearchEngine,
        aliases: Sequence[str],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._aliases = list(aliases)
        self._clock = clock
        self._current: IndicesByAlias = {alias: AliasIndices(alias) for alias in aliases}
        self.unknown: Mapping[str, AliasTrouble] = {}
        """Why the last check of single aliases failed: the indices of their documents are unknown."""
        self._seen = float("-inf")
        self._lock = asyncio.Lock()
        self.changed: Callable[[IndicesByAlias], None] = lambda _current: None

    @property
    def last(self) -> IndicesByAlias:
        """The result of the last check, of any age."""
        return self._current

    async def known(self) -> IndicesByAlias:
        """Return a view that a write may rely on now; check again if the last view is too old.

        Raises `ElasticsearchUnavailableError` and `ElasticsearchRefusedError`.
        """
        if self._clock() - self._seen < KNOWN_FOR:
            return self._current
        async with self._lock:
            if self._clock() - self._seen >= KNOWN_FOR:
                await self._look()
            return self._current

    async def look(self) -> IndicesByAlias:
        """Check now and return the result. Raises as `known` does."""
        async with self._lock:
            await self._look()
            return self._current

    async def run(self, interval: float = LOOK_INTERVAL) -> None:
        """Poll until cancelled."""
        while True:
            await asyncio.sleep(interval)
            try:
                await self.look()
            except CdcError as error:
                log.warning("elasticsearch.aliases_unknown", error=error.message, hint=error.hint, every=30)

    async def _look(self) -> None:
        sent = self._clock()
        before = self._current
        seen, failures = await self._look_at_each()
        self.unknown = track_failures(self.unknown, failures)
        self._current = {**before, **seen}
        self._seen = sent
        for alias, indices in self._current.items():
            if (indices.live, indices.other, indices.phase) != (
                before[alias].live,
                before[alias].other,
                before[alias].phase,
            ):
                log.info("elasticsearch.indices", **indices.plain())
        self.changed(self._current)

    async def _look_at_each(self) -> tuple[IndicesByAlias, Mapping[str, ElasticsearchRefusedError]]:
        """Return the current indices, and why checks of single aliases fail: a block on one fails a check of all.

        Raises the failure if no alias can be checked.
        """
        try:
            return await look_up_indices(self._engine, self._aliases), {}
        except ElasticsearchRefusedError as refusal:
            current: dict[str, AliasIndices] = {}
            failures: dict[str, ElasticsearchRefusedError] = {}
            for alias in self._aliases:
                try:
                    current |= await look_up_indices(self._engine, [alias])
                except ElasticsearchRefusedError as error:
                    failures[alias] = error
            if not current:
                raise refusal from None
            return current, failures


async def look_up_indices(engine: SearchEngine, aliases: Sequence[str]) -> IndicesByAlias:
    """Return the current indices. Raises `ElasticsearchUnavailableError` and `ElasticsearchRefusedError`."""
    with attempting("look at the aliases"):
        indices = await engine.aliases(alias_names(aliases))
    return {alias: read_alias_indices(alias, indices) for alias in aliases}


class SwapFields:
    """The fields of both indices of an alias; the fields that the live one accepts count."""

    def __init__(self, engine: SearchEngine, watch: SwapWatch) -> None:
        self._manager = IndexManager(engine)
        self._watch = watch

    async def complete(self, alias: str, properties: Mapping[str, Any], *, add: bool) -> Completion:
        """Add the fields that are missing in the indices. Raises as `IndexManager` does; errors name the alias."""
        try:
            indices = (await self._watch.known()).get(alias)
            if indices is not None and indices.both_written:
                await self._manager.complete(direct(str(indices.other)), properties, add=add)
            return await self._manager.complete(alias, properties, add=add)
        except (ElasticsearchRefusedError, ElasticsearchUnavailableError) as error:
            # Name the alias, so that it is probed for writes: no write may precede the fields.
            where = {**error.where, "alias": alias}
            raise type(error)(error.message, hint=error.hint, **where) from error
