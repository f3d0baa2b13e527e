"""How long the schema is refreshed for an unknown table."""

from __future__ import annotations

import asyncio

from cdc_daemon.commitlog.schema import Schema
from cdc_daemon.model.signal import TableName
from cdc_daemon.sources.log.tables import KnownTables
from tests.segments import LATECOMERS, LATECOMERS_NAME, OTHERS, SCHEMA, USERS
from tests.simulation.virtual_time import virtual_time

MAPPED: frozenset[TableName] = frozenset({LATECOMERS_NAME})


class Cluster:
    """Nodes that agree from a given moment on, and from then on may know the new tables."""

    def __init__(self, *, agreed_at: float, known_at: float = float("inf")) -> None:
        self.current = SCHEMA
        self.agreed_at = agreed_at
        self.known_at = known_at
        self.refreshed = 0
        self.now = asyncio.get_running_loop().time

    async def refresh(self) -> None:
        self.refreshed += 1
        if self.now() >= self.known_at:
            self.current = Schema([*SCHEMA, LATECOMERS])

    async def agreed(self) -> bool:
        return self.now() >= self.agreed_at

    def knowledge(self) -> KnownTables:
        return KnownTables(self, MAPPED, now=self.now)


async def a_table_on_its_way() -> None:
    cluster = Cluster(agreed_at=30, known_at=29.5)
    await cluster.knowledge().resolve({LATECOMERS.id})
    assert cluster.current.get(LATECOMERS.id) is not None
    assert cluster.now() <= 30


async def a_table_that_comes_with_the_agreement() -> None:
    cluster = Cluster(agreed_at=30, known_at=30)
    await cluster.knowledge().resolve({LATECOMERS.id})
    assert cluster.current.get(LATECOMERS.id) is not None


async def tables_that_were_dropped() -> None:
    cluster = Cluster(agreed_at=float("inf"))
    knowledge = cluster.knowledge()
    for number in range(100):
        await knowledge.resolve({number.to_bytes(16, "big")[::-1]})
    assert 59 <= cluster.now() <= 61, "a disagreement that lasts is waited for once"
    cluster.agreed_at = 0
    await knowledge.resolve({LATECOMERS.id})
    assert cluster.now() <= 61


async def tables_that_were_dropped_where_all_agree() -> None:
    cluster = Cluster(agreed_at=0)
    await cluster.knowledge().resolve({LATECOMERS.id, OTHERS.id, USERS.id, "a message"})
    assert (cluster.now(), cluster.refreshed) == (0, 1)


def test_a_table_is_waited_for_while_nodes_disagree() -> None:
    for story in (a_table_on_its_way, a_table_that_comes_with_the_agreement):
        with virtual_time() as run:
            run(story())


def test_tables_that_were_dropped_are_not_waited_for_again_and_again() -> None:
    for story in (tables_that_were_dropped, tables_that_were_dropped_where_all_agree):
        with virtual_time() as run:
            run(story())
