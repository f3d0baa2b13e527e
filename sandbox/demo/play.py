"""The steps of the demo, in order."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from cassandra.cluster import Session

from cdc_daemon.config import load
from cdc_daemon.model.errors import CdcError
from sandbox.compare import Comparison, compare
from sandbox.demo.board import Board, Step
from sandbox.demo.errors import DemoError
from sandbox.demo.freshness import percentiles
from sandbox.demo.probe import Probes
from sandbox.demo.renames import Renames
from sandbox.demo.schema import create_schema
from sandbox.demo.stage import Stage
from sandbox.demo.summary import Outage, Summary
from sandbox.demo.watch import Watch
from sandbox.demo.writer import Writer
from sandbox.session import connect, protocol_of

PROBES_PER_SECOND = 8
WARM_UP_SECONDS = 8.0
WARM_SECONDS = 5.0
"""Seconds in a row without a late document after which the servers count as warm: Java compiles what runs often."""
RENAME_EVERY = 5.0
"""Seconds between two organisations that get another name, which some hundred users' documents show."""
LATE = 0.5
"""Age in seconds of a write whose document cannot be read yet and is late."""
LONGEST_WARM_UP = 40.0
DAEMON_GONE_SECONDS = 3.0
SEARCH_GONE_SECONDS = 10.0
CALM_SECONDS = 4.0

DEADLINE = 300.0
"""Timeout in seconds for the daemon's start, catch-up and drain. The figures show what is slow; only a hang fails."""

_MARGIN = 1.0

TITLES = (
    "start the servers",
    "start the daemon",
    "warm up",
    "undisturbed",
    "kill -9 the daemon",
    "stop the search engine",
    "drain",
    "compare",
)


@dataclass(frozen=True, slots=True)
class Options:
    """`seconds` is the length of the undisturbed phase, `rate` the rows written a second."""

    seconds: float = 25.0
    rate: int = 300


def make_board() -> Board:
    """Return the board of a demo that has not begun."""
    return Board([Step(title) for title in TITLES])


async def play(stage: Stage, board: Board, options: Options) -> Summary:
    """Play the whole demo.

    Raises `SandboxError` when the servers fail, `DemoError` when the daemon does.
    """
    with board.step(0) as step:
        await stage.start_servers(lambda line: setattr(step, "note", line))
        summary = Summary(stage.sandbox["cassandra"]["version"], stage.sandbox["elasticsearch"]["title"])
        step.note = f"Cassandra {summary.cassandra}, {summary.search}"
    async with _session(stage) as session, _http() as http:
        watch = Watch(stage, http)
        with board.step(1) as step:
            step.note = "keyspace sunbird, table user with cdc = true"
            await asyncio.to_thread(create_schema, session)
            await stage.start_daemon()
            step.note = f"its metrics at {stage.daemon_url}/metrics"
            await _in_time("start", watch.wait_running())
        probes = Probes(session, http, stage.index_url, rate=PROBES_PER_SECOND)
        writer = Writer(session, rate=options.rate, source=random.Random(1))  # noqa: S311 - no secret
        board.watch, board.probes, board.writer = watch, probes, writer
        renames = Renames(session, every=RENAME_EVERY)
        await _Play(stage, board, watch, probes, writer, renames).run(options, summary)
    return summary


class _Play:
    """The steps that need all servers."""

    def __init__(  # noqa: PLR0917 -- all that takes part
        self, stage: Stage, board: Board, watch: Watch, probes: Probes, writer: Writer, renames: Renames
    ) -> None:
        self._stage = stage
        self._board = board
        self._watch = watch
        self._probes = probes
        self._writer = writer
        self._renames = renames

    async def run(self, options: Options, summary: Summary) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                watching = tasks.create_task(self._watch.run(), name="watch")
                probing = tasks.create_task(self._probes.run(), name="probes")
                writing = [
                    tasks.create_task(self._writer.run(), name="writer"),
                    tasks.create_task(self._renames.run(), name="renames"),
                ]
                await self._measure(options.seconds)
                summary.daemon = await self._without_daemon()
                summary.outage = await self._without_search()
                await self._drain(writing)
                summary.comparisons = await self._compare()
                for task in (watching, probing):
                    task.cancel()
        except BaseExceptionGroup as group:
            raise _foremost(group) from None
        finally:
            summary.changes, summary.failed = self._writer.total, self._writer.failed
            summary.renamed = self._renames.done
            summary.seconds = (self._writer.ended or time.monotonic()) - self._writer.began
            summary.undisturbed = percentiles(self._probes.undisturbed_times)
            summary.all = percentiles(self._probes.times)

    async def _measure(self, seconds: float) -> None:
        with self._board.step(2) as step:
            step.note = "inserts, partial updates, deletions, batches, renames"
            await asyncio.sleep(WARM_UP_SECONDS)
            if not await self._is_warm(LONGEST_WARM_UP - WARM_UP_SECONDS):
                step.note = f"documents are late even after {LONGEST_WARM_UP:.0f} s of it"
        with self._board.step(3) as step:
            step.note = "from a write's acknowledgement to its document being readable by id"
            self._probes.undisturbed = True
            await asyncio.sleep(seconds)
            self._probes.undisturbed = False
            await asyncio.sleep(_MARGIN)  # the last of them are not to meet the outage

    async def _is_warm(self, seconds: float) -> bool:
        """Wait until documents have been fresh for a while; return whether they were."""
        until = time.monotonic() + seconds
        late = time.monotonic()
        while (now := time.monotonic()) < until:
            if self._probes.lag > LATE:
                late = now
            if now - late > WARM_SECONDS:
                return True
            await asyncio.sleep(0.1)
        return False

    async def _without_daemon(self) -> Outage:
        with self._board.step(4) as step:
            self._watch.killed = True
            began = time.monotonic()
            await self._stage.kill_daemon()
            step.note = f"killed; the writer goes on, {DAEMON_GONE_SECONDS:.0f} s"
            await asyncio.sleep(DAEMON_GONE_SECONDS)
            await self._stage.restart_daemon()
            restarted = time.monotonic()
            self._watch.killed = False
            step.note = "started again, catching up"
            await _in_time("catch up after kill -9", self._probes.wait_shown(restarted))
            outage = Outage(restarted - began, time.monotonic() - restarted)
            step.note = f"caught up {outage.caught_up:.1f} s after its restart"
            return outage

    async def _without_search(self) -> Outage:
        with self._board.step(5) as step:
            step.note = "stopping"
            await self._stage.stop_elasticsearch()
            began = time.monotonic()
            step.note = f"stopped; the writer goes on, {SEARCH_GONE_SECONDS:.0f} s"
            await asyncio.sleep(SEARCH_GONE_SECONDS)
            step.note = "starting it again"
            await self._stage.start_elasticsearch()
            back = time.monotonic()
            step.note = "it answers again, catching up"
            await _in_time("catch up after the search engine's outage", self._probes.wait_shown(back))
            outage = Outage(back - began, time.monotonic() - back)
            step.note = f"caught up {outage.caught_up:.1f} s after it answered again"
            await asyncio.sleep(CALM_SECONDS)
            return outage

    async def _drain(self, writing: Sequence[asyncio.Task[None]]) -> None:
        with self._board.step(6) as step:
            step.note = "the writer stops; what is on its way arrives"
            self._writer.stop()
            self._renames.stop()
            self._probes.stop()
            await asyncio.gather(*writing)
            await _in_time("show the last write", self._probes.write_last())
            await _in_time("drain", self._watch.wait_drained())
            step.note = "nothing pending, nothing behind"

    async def _compare(self) -> list[Comparison]:
        with self._board.step(7) as step:
            step.note = "every row and every document"
            found = await compare(load(self._stage.config_path))
            step.note = "EQUAL" if all(comparison.is_equal for comparison in found) else "NOT EQUAL"
            return found


def _foremost(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first of our own errors in a group, or the group when there is none."""
    ours = [error for error in group.exceptions if isinstance(error, CdcError)]
    return ours[0] if ours else group


async def _in_time(what: str, awaited: Awaitable[None]) -> None:
    try:
        async with asyncio.timeout(DEADLINE):
            await awaited
    except TimeoutError:
        raise DemoError(f"expected the daemon to {what} within {DEADLINE:.0f} s, found it had not") from None


@asynccontextmanager
async def _session(stage: Stage) -> AsyncIterator[Session]:
    ring = stage.sandbox["cassandra"]
    with connect(ring["contact_points"], ring["port"], protocol=protocol_of(ring["version"])) as session:
        yield session


@asynccontextmanager
async def _http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2.0)) as http:
        yield http
