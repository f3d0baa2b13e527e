"""The steps on the indices of an alias: build, swap in, roll back, delete. Each step may be repeated."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import structlog

from cdc_daemon.model.errors import IndexSwapError
from cdc_daemon.search.engine import SearchEngine
from cdc_daemon.search.failure import attempting
from cdc_daemon.search.index_drift import IndexDifference, find_drift, flat_settings
from cdc_daemon.search.index_swap import BEHIND, AliasIndices, Phase, direct, exchange_actions, following_names, marker
from cdc_daemon.search.indices import IndexDefinition, IndexManager
from cdc_daemon.search.swap_watch import SEEN_BY_ALL, SwapWatch

log = structlog.get_logger(__name__)

WHILE_BUILDING: Mapping[str, Any] = {"index.refresh_interval": "-1", "index.number_of_replicas": 0}
"""Settings of an index while it is filled: nobody searches it, and data lost with a node is built again.
https://www.elastic.co/guide/en/elasticsearch/reference/8.19/tune-for-indexing-speed.html"""

LAGGARDS = 90.0
"""Seconds until a lagging node is removed from the cluster (`cluster.follower_lag.timeout`)."""

_SHARDS_SECONDS = 600
"""The timeout for the allocation of shard copies before an index is made live."""

_HIDDEN = {"is_hidden": True}


class SwapSteps:
    """Changes the indices of an alias. `seconds` is the wait until all daemons have seen a change.

    Methods raise `ElasticsearchUnavailableError` and `ElasticsearchRefusedError`, and `IndexSwapError` if the
    indices are not in the required state.
    """

    def __init__(self, engine: SearchEngine, watch: SwapWatch, *, seconds: float = SEEN_BY_ALL) -> None:
        self._engine = engine
        self._watch = watch
        self._seconds = seconds

    async def indices(self, alias: str) -> AliasIndices:
        """Return the current indices."""
        return (await self._watch.look())[alias]

    async def wait_seen(self) -> None:
        """Wait until every daemon's writes use the changes made before this call."""
        await asyncio.sleep(self._seconds)

    async def free_name(self, definition: IndexDefinition, live: str) -> str:
        """Return the name of the next index: the declared one if that is free, otherwise the next number."""
        for name in (definition.index, *following_names(definition.alias, live)):
            with attempting("look for a free name", index=name):
                if not await self._engine.index_exists(name):
                    return name
        raise IndexSwapError("expected a free name for the index, found none", alias=definition.alias, index=live)

    async def try_out(self, definition: IndexDefinition) -> None:
        """Check with Elasticsearch whether an index can be created. Also raises `IndexRefusedError`."""
        await IndexManager(self._engine).try_out(definition)

    async def create(self, definition: IndexDefinition, indices: AliasIndices) -> None:
        """Create the index that will replace the live one; it receives writes from now on.

        It may already exist, if it was created for the same purpose.
        """
        alias, index, live = indices.alias, definition.index, str(indices.live)
        await self._check_names(alias)
        # Do this first: writes to both indices use these names as soon as the second one is seen.
        await self._change([{"add": {"index": live, "alias": direct(live), **_HIDDEN}}], "name the live index", alias)
        own = {marker(alias, Phase.BUILDING): _HIDDEN, direct(index): _HIDDEN}
        settings = {**dict(flat_settings(definition.settings)), **_building_settings(definition)}
        made = replace(definition, settings=settings)
        if not await IndexManager(self._engine).create(made, own) and (await self.indices(alias)).other != index:
            raise IndexSwapError("expected a free name for the index, found an index of that name", index=index)

    async def resume_writes(self, indices: AliasIndices) -> None:
        """Resume writes to the other index after `stop_writes`; it is still behind."""
        actions = [
            {"add": {"index": each, "alias": direct(each), **_HIDDEN}}
            for each in (str(indices.live), str(indices.other))
        ]
        await self._change(actions, "resume writes to the index", indices.alias)

    async def drift(self, definition: IndexDefinition, index: str) -> list[IndexDifference]:
        """Return the differences of an index being built from its declaration."""
        building = _building_settings(definition)
        settings = {name: value for name, value in flat_settings(definition.settings) if name not in building}
        return await find_drift(
            self._engine, index, settings=settings, mappings=definition.mappings, former=definition.former
        )

    async def complete(self, definition: IndexDefinition, index: str) -> None:
        """Apply the final settings to a filled index, refresh it, and wait for its copies."""
        declared = dict(flat_settings(definition.settings))
        wanted = {name: declared.get(name) for name in _building_settings(definition)}
        with attempting("set the settings", index=index):
            await self._engine.put_settings(index, wanted)
            await self._engine.refresh(index)
            await self._engine.wait_for_shards(index, seconds=_SHARDS_SECONDS)

    async def exchange(self, indices: AliasIndices) -> None:
        """Make the other index live, in one step, and keep the previous live one."""
        with attempting("refresh", index=indices.other):
            await self._engine.refresh(str(indices.other))
        await self._change(exchange_actions(indices), "swap the indices", indices.alias)
        log.info("elasticsearch.swapped", alias=indices.alias, live=indices.other, kept=indices.live)
        await self._watch.look()

    async def mark_behind(self, indices: AliasIndices) -> None:
        """Mark for all daemons that the other index lacks changes."""
        add = {"add": {"index": indices.other, "alias": marker(indices.alias, BEHIND), **_HIDDEN}}
        await self._change([add], "mark the index", indices.alias)

    async def unmark_behind(self, alias: str, index: str) -> None:
        """Remove the mark before a comparison; daemons set it again if the index rejects changes from now on."""
        remove = {"remove": {"index": index, "alias": marker(alias, BEHIND), "must_exist": False}}
        await self._change([remove], "unmark the index", alias)
        await self._watch.look()

    async def stop_writes(self, indices: AliasIndices) -> None:
        """Stop all writes to the other index, and mark it as behind."""
        other = str(indices.other)
        actions = [
            {"add": {"index": other, "alias": marker(indices.alias, BEHIND), **_HIDDEN}},
            {"remove": {"index": other, "alias": direct(other), "must_exist": False}},
        ]
        await self._change(actions, "stop writes to the index", indices.alias)

    async def drop(self, indices: AliasIndices) -> None:
        """Delete the other index after all daemons have stopped writing to it."""
        alias, other = indices.alias, str(indices.other)
        if indices.phase is not Phase.DROPPING:
            assert indices.phase is not None
            actions: list[Mapping[str, Any]] = [
                {"remove": {"index": other, "alias": marker(alias, indices.phase), "must_exist": True}},
                {"add": {"index": other, "alias": marker(alias, Phase.DROPPING), **_HIDDEN}},
            ]
            # From here on no swap can make it live: that needs the removed alias.
            await self._change(actions, "mark the index", alias)
            await self._watch.look()
        await self.wait_seen()
        now = await self.indices(alias)
        if (now.other, now.phase) != (other, Phase.DROPPING):
            raise IndexSwapError(
                f"expected an index that is to be dropped, found it {now.phase or 'gone'}", alias=alias, index=other
            )
        with attempting("delete the index", index=other):
            await self._engine.delete_index(other)
        log.info("elasticsearch.index_deleted", alias=alias, index=other)
        await self._watch.look()

    async def _check_names(self, alias: str) -> None:
        names = [marker(alias, what) for what in (*Phase, BEHIND)]
        with attempting("look for a free name", alias=alias):
            indices = await self._engine.aliases(names)
        for name in names:
            if name in indices:
                raise IndexSwapError(f"expected the name {name!r} to be free, found an index of that name", alias=alias)

    async def _change(self, actions: Sequence[Mapping[str, Any]], doing: str, alias: str) -> None:
        with attempting(doing, alias=alias):
            acknowledged = await self._engine.update_aliases(actions)
        if not acknowledged:
            # It is done, but some node has not acknowledged it: that node follows, or is removed from the cluster.
            log.warning("elasticsearch.change_not_acknowledged", alias=alias, waiting_seconds=LAGGARDS)
            await asyncio.sleep(LAGGARDS)


def _building_settings(definition: IndexDefinition) -> dict[str, Any]:
    """Return the settings that differ while an index is filled, without the number of replicas if it auto-expands."""
    declared = dict(flat_settings(definition.settings))
    follows = str(declared.get("index.auto_expand_replicas", "false")).lower() != "false"
    return {
        name: value for name, value in WHILE_BUILDING.items() if not (follows and name == "index.number_of_replicas")
    }
