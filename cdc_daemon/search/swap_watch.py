"""What every daemon knows of the indices behind its aliases, and how old that may be."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog
from elasticsearch import AsyncElasticsearch

from cdc_daemon.model.errors import CdcError, ElasticsearchRefusedError, ElasticsearchUnavailableError
from cdc_daemon.search.alias_troubles import AliasTrouble, carry_on
from cdc_daemon.search.answers import ALIASES, read
from cdc_daemon.search.failure import told_apart
from cdc_daemon.search.index_swap import IndexPair, asked_for, direct, read_pair
from cdc_daemon.search.indices import Completion, IndexManager

log = structlog.get_logger(__name__)

LOOK_INTERVAL = 1.0
"""Seconds between two looks."""

KNOWN_FOR = 3.0
"""Seconds after a look was sent within which writes may still rely on it."""

SEEN_BY_ALL = KNOWN_FOR + 0.5
"""Seconds after a change of aliases from which on every daemon writes by it: none relies on an older look."""

Pairs = Mapping[str, IndexPair]


class PairWatch:
    """Looks at the aliases again and again, and lets nobody write by what was seen too long ago.

    So whoever changes them knows without asking anybody when all daemons have seen it, those of other nodes, those
    that are just starting and those that nobody knows of: after `SEEN_BY_ALL`. `clock` tells monotonic seconds,
    `changed` is told what is known after each look.
    """

    def __init__(
        self,
        client: AsyncElasticsearch,
        aliases: Sequence[str],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._aliases = list(aliases)
        self._clock = clock
        self._pairs: Pairs = {alias: IndexPair(alias) for alias in aliases}
        self.unknown: Mapping[str, AliasTrouble] = {}
        """Why single aliases could not be looked at last: nobody knows which indices their documents go to."""
        self._seen = float("-inf")
        self._lock = asyncio.Lock()
        self.changed: Callable[[Pairs], None] = lambda _pairs: None

    @property
    def last(self) -> Pairs:
        """What was seen last, however long ago."""
        return self._pairs

    async def known(self) -> Pairs:
        """Return what may be relied on for a write that begins now; look if that is too old.

        Raises `ElasticsearchUnavailableError` and `ElasticsearchRefusedError`.
        """
        if self._clock() - self._seen < KNOWN_FOR:
            return self._pairs
        async with self._lock:
            if self._clock() - self._seen >= KNOWN_FOR:
                await self._look()
            return self._pairs

    async def look(self) -> Pairs:
        """Return what is there now. Raises as `known` does."""
        async with self._lock:
            await self._look()
            return self._pairs

    async def run(self, interval: float = LOOK_INTERVAL) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(interval)
            try:
                await self.look()
            except CdcError as error:
                log.warning("elasticsearch.aliases_unknown", error=error.message, hint=error.hint, every=30)

    async def _look(self) -> None:
        sent = self._clock()
        before = self._pairs
        seen, failures = await self._look_at_each()
        self.unknown = carry_on(self.unknown, failures)
        self._pairs = {**before, **seen}
        self._seen = sent
        for alias, pair in self._pairs.items():
            if (pair.live, pair.other, pair.phase) != (before[alias].live, before[alias].other, before[alias].phase):
                log.info("elasticsearch.indices", **pair.plain())
        self.changed(self._pairs)

    async def _look_at_each(self) -> tuple[Pairs, Mapping[str, ElasticsearchRefusedError]]:
        """Return what is there now, and why single aliases cannot be looked at: a block of one refuses a look at all.

        Raises the refusal where no alias can be looked at.
        """
        try:
            return await look_at_pairs(self._client, self._aliases), {}
        except ElasticsearchRefusedError as refusal:
            pairs: dict[str, IndexPair] = {}
            failures: dict[str, ElasticsearchRefusedError] = {}
            for alias in self._aliases:
                try:
                    pairs |= await look_at_pairs(self._client, [alias])
                except ElasticsearchRefusedError as error:
                    failures[alias] = error
            if not pairs:
                raise refusal from None
            return pairs, failures


async def look_at_pairs(client: AsyncElasticsearch, aliases: Sequence[str]) -> Pairs:
    """Return what is there now. Raises `ElasticsearchUnavailableError` and `ElasticsearchRefusedError`."""
    with told_apart("look at the aliases"):
        answer = await client.indices.get_alias(
            index=asked_for(aliases), ignore_unavailable=True, expand_wildcards="all"
        )
        found = read(ALIASES, answer)
    indices = {index: entry["aliases"] for index, entry in found.items()}
    return {alias: read_pair(alias, indices) for alias in aliases}


class PairFields:
    """The fields of both indices of an alias; what the live one takes counts."""

    def __init__(self, client: AsyncElasticsearch, watch: PairWatch) -> None:
        self._manager = IndexManager(client)
        self._watch = watch

    async def complete(self, alias: str, properties: Mapping[str, Any], *, add: bool) -> Completion:
        """Add the fields that the indices lack. Raises as `IndexManager` does; errors name the alias."""
        try:
            pair = (await self._watch.known()).get(alias)
            if pair is not None and pair.paired:
                await self._manager.complete(direct(str(pair.other)), properties, add=add)
            return await self._manager.complete(alias, properties, add=add)
        except (ElasticsearchRefusedError, ElasticsearchUnavailableError) as error:
            # Named, so that it is found out whether the alias takes writes: none may come before there are fields.
            where = {**error.where, "alias": alias}
            raise type(error)(error.message, hint=error.hint, **where) from error
