"""The tail beside a real Cassandra: segments behave as its source code says when it runs, stops and crashes.

One node of its own: a tail deletes what it has read, and these tests kill the node.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cassandra.cluster import Session

from cdc_daemon.cassandra.schema import SchemaSource
from cdc_daemon.model.receipt import Receipt
from cdc_daemon.model.signal import Scope, Signal, TableName
from cdc_daemon.sources.log.folder import CdcFolder
from cdc_daemon.sources.log.gaps import Gap
from cdc_daemon.sources.log.ports import NullObserver
from cdc_daemon.sources.log.tail import Tail
from cdc_daemon.store import Store
from sandbox import FAST_START, CassandraNode, Sandbox

KEYSPACE = "tail"
TABLES = {TableName(KEYSPACE, "users"), TableName(KEYSPACE, "events")}
PATIENCE = 120.0
"""Seconds after which a test gives up; nothing depends on it."""

SCHEMA = (
    f"CREATE KEYSPACE {KEYSPACE} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}",
    f"CREATE TABLE {KEYSPACE}.users (id text PRIMARY KEY, v text) WITH cdc = true",
    f"""CREATE TABLE {KEYSPACE}.events (id text, day int, n int, s text static, v text, PRIMARY KEY (id, day, n))
        WITH cdc = true""",
)


@pytest.fixture(scope="module")
def server() -> Iterator[Sandbox]:
    """Give a node with segments of 1 MiB and Cassandra's own sync period of 10 s."""
    yaml = {"commitlog_segment_size": "1MiB", "max_mutation_size": "512KiB"}
    with Sandbox(elasticsearch=False, yaml=yaml, java_options=FAST_START) as box, box.connect() as session:
        for statement in SCHEMA:
            session.execute(statement)
        yield box


@pytest.fixture
def node(server: Sandbox) -> CassandraNode:
    return server.cassandra


@pytest.fixture
def cql(server: Sandbox) -> Iterator[Session]:
    with server.connect() as session:
        yield session


class Sink:
    """Acknowledges all signals at once and records them."""

    def __init__(self) -> None:
        self.signals: list[Signal] = []
        self.keys: set[str] = set()

    async def submit(self, signals: Sequence[Signal], receipt: Receipt) -> None:
        assert not receipt.done
        self.signals.extend(signals)
        self.keys.update(signal.partition_key.decode() for signal in signals)


class Releases(NullObserver):
    """Records which segments were deleted, and which are missing."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.gaps: list[Gap] = []

    def gap(self, gap: Gap) -> None:
        self.gaps.append(gap)

    def released(self, segment_id: int, size: int) -> None:
        assert size > 0
        self.ids.append(segment_id)


class RunningTail:
    """A running tail, and the events that it reported."""

    def __init__(self, tail: Tail, running: asyncio.Task[None], sink: Sink, releases: Releases) -> None:
        self.tail = tail
        self.running = running
        self.sink = sink
        self.releases = releases

    async def until(self, what: str, condition: Callable[[], object]) -> None:
        give_up = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < give_up, f"waited in vain for {what}"
            if self.running.done():
                self.running.result()
            await asyncio.sleep(0.005)


@asynccontextmanager
async def beside(node: CassandraNode, session: Session, state: Path) -> AsyncIterator[RunningTail]:
    """Run a tail on the node's folder until the block ends."""
    store = Store(state)
    schema = SchemaSource(session)
    await schema.refresh()
    sink, releases = Sink(), Releases()
    tail = Tail(
        node.cdc_raw_directory,
        state=state,
        sink=sink,
        schema=schema,
        mapped=TABLES,
        checkpoints=store.checkpoints,
        dead_letters=store.dead_letters,
        reconcile_requests=store.reconcile_requests,
        seen=store.seen_segments,
        observer=releases,
    )
    running = asyncio.create_task(tail.run())
    try:
        yield RunningTail(tail, running, sink, releases)
        await tail.stop(10.0)
        await running
        assert store.dead_letters.count() == 0
        assert store.reconcile_requests.open() == []
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        store.close()


def write(session: Session, prefix: str, count: int, *, size: int = 2000) -> list[str]:
    """Write rows and return their keys, each acknowledged by Cassandra."""
    statement = session.prepare(f"INSERT INTO {KEYSPACE}.users (id, v) VALUES (?, ?)")
    keys = [f"{prefix}-{number}" for number in range(count)]
    for key in keys:
        session.execute(statement, (key, "x" * size))
    return keys


def write_anew(server: Sandbox, prefix: str, count: int) -> list[str]:
    """Write rows through a session of their own: one from before a restart may not have come back yet."""
    with server.connect() as session:
        return write(session, prefix, count)


def read_keys(server: Sandbox) -> set[str]:
    """Return the keys of all users that Cassandra has."""
    with server.connect() as session:
        return {row.id for row in session.execute(f"SELECT id FROM {KEYSPACE}.users")}


def durable(node: CassandraNode) -> dict[int, int]:
    """Return how far each segment's index file says it is on the disk."""
    listing = CdcFolder(node.cdc_raw_directory).look()
    return {file.id: file.index.offset for file in listing.segments if file.index is not None}


async def test_signals_come_before_the_index_file_tells_of_them(
    node: CassandraNode, cql: Session, tmp_path: Path
) -> None:
    async with beside(node, cql, tmp_path / "state") as work:
        ahead = 0
        for number in range(5):
            before = durable(node)
            [key] = await asyncio.to_thread(write, cql, f"fresh-{number}", 1)
            await work.until("the signal", lambda key=key: key in work.sink.keys)  # type: ignore[misc]
            ahead += durable(node) == before
        assert ahead >= 3, "one sync in ten seconds may fall between"


async def test_every_scope_is_signalled(node: CassandraNode, cql: Session, tmp_path: Path) -> None:
    statements = (
        "INSERT INTO {t} (id, day, n, v) VALUES ('scopes', 1, 2, 'x')",
        "UPDATE {t} SET s = 'shared' WHERE id = 'scopes'",
        "DELETE FROM {t} WHERE id = 'scopes' AND day = 3",
        "DELETE FROM {t} WHERE id = 'scopes'",
    )
    async with beside(node, cql, tmp_path / "state") as work:
        for statement in statements:
            await asyncio.to_thread(cql.execute, statement.format(t=f"{KEYSPACE}.events"))
        wanted = [Scope.ROW, Scope.STATIC, Scope.RANGE, Scope.PARTITION]

        def said() -> list[Signal]:
            return [signal for signal in work.sink.signals if signal.partition_key == b"scopes"]

        await work.until("all scopes", lambda: len(said()) >= len(wanted))
        assert [signal.scope for signal in said()] == wanted
        row, _, removed_range, removed_partition = said()
        assert row.clustering == ((1).to_bytes(4, "big"), (2).to_bytes(4, "big"))
        assert removed_range.clustering == ((3).to_bytes(4, "big"),)
        assert removed_partition.removed >= row.written > 0


async def test_a_finished_segment_is_released(node: CassandraNode, cql: Session, tmp_path: Path) -> None:
    async with beside(node, cql, tmp_path / "state") as work:
        keys = await asyncio.to_thread(write, cql, "release", 1500)
        await work.until("the signals", lambda: work.sink.keys.issuperset(keys))
        await work.until("releases", lambda: len(work.releases.ids) >= 2)
        names = {path.name for path in node.cdc_raw_directory.iterdir()}
        for segment_id in work.releases.ids:
            assert not [name for name in names if str(segment_id) in name], "log and index file are both gone"
        assert work.releases.gaps == []


async def test_killing_cassandra_in_mid_flow_loses_nothing_and_consumed_segments_are_recognised(
    server: Sandbox, node: CassandraNode, cql: Session, tmp_path: Path
) -> None:
    async with beside(node, cql, tmp_path / "state") as work:
        await asyncio.to_thread(write, cql, "before", 1500)
        await work.until("releases", lambda: len(work.releases.ids) >= 2)
        released = set(work.releases.ids)
        await asyncio.to_thread(write, cql, "flow", 300)
        node.kill()
        replayed = len(work.sink.signals)
        node.start()
        await asyncio.to_thread(node.wait_ready)
        again = await asyncio.to_thread(write_anew, server, "after", 300)
        await work.until("what came after", lambda: work.sink.keys.issuperset(again))
        rows = await asyncio.to_thread(read_keys, server)
        kept = {key for key in rows if key.startswith(("before-", "flow-", "after-"))}
        assert len(kept) > 1500
        await work.until("what Cassandra has kept", lambda: work.sink.keys.issuperset(kept))
        reappeared = [segment_id for segment_id in work.releases.ids if work.releases.ids.count(segment_id) > 1]
        assert released & set(reappeared), "Cassandra linked consumed segments again, and they were removed"
        repeated = {signal.partition_key.decode() for signal in work.sink.signals[replayed:]}
        # Two segments of 1 MiB were released by then, so they hold the first rows of 2 kB; the one in use when
        # Cassandra crashed is read once more on purpose.
        first = {f"before-{number}" for number in range(100)}
        assert not repeated & first, "what was released is not read again"
        assert work.releases.gaps == []


async def test_a_clean_restart_of_cassandra_leaves_no_link_behind(
    server: Sandbox, node: CassandraNode, cql: Session, tmp_path: Path
) -> None:
    async with beside(node, cql, tmp_path / "state") as work:
        await asyncio.to_thread(write, cql, "stop", 10)
        await asyncio.to_thread(node.stop)
        left = {file.id for file in CdcFolder(node.cdc_raw_directory).look().segments}
        node.start()
        await asyncio.to_thread(node.wait_ready)
        keys = await asyncio.to_thread(write_anew, server, "started", 10)
        await work.until("the signals", lambda: work.sink.keys.issuperset(keys))

        def still_there() -> set[int]:
            return left & {file.id for file in CdcFolder(node.cdc_raw_directory).look().segments}

        await work.until(f"the links of the earlier run to go: {left}", lambda: not still_there())
        assert work.releases.gaps == []
