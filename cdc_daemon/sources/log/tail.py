"""The source of changes: read every segment of the node, the oldest first, from the checkpoint on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

import structlog

from cdc_daemon.commitlog.descriptor import START, Position
from cdc_daemon.commitlog.encryption import Keyring
from cdc_daemon.model.errors import StoreError
from cdc_daemon.model.signal import TableName
from cdc_daemon.sources.log.checkpoint import CheckpointKeeper
from cdc_daemon.sources.log.folder import CdcFolder
from cdc_daemon.sources.log.inventory import Inventory
from cdc_daemon.sources.log.losses import LossRecorder
from cdc_daemon.sources.log.monitor import FolderMonitor
from cdc_daemon.sources.log.ports import (
    CheckpointStore,
    DeadLetterStore,
    Division,
    Executor,
    NullObserver,
    ReconcileRequestStore,
    SchemaProvider,
    SeenSegmentStore,
    SignalSink,
    TailObserver,
    TailOptions,
    in_thread,
)
from cdc_daemon.sources.log.quarantine import Quarantine
from cdc_daemon.sources.log.reader import LogReader
from cdc_daemon.sources.log.release import Releaser
from cdc_daemon.sources.log.segments import Backlog, TrackedSegments
from cdc_daemon.sources.log.tables import KnownTables
from cdc_daemon.sources.log.watch import FolderWatch

log = structlog.get_logger(__name__)

_HURRIED_SECONDS = 1.0
"""Seconds for which a stop in a hurry still waits: for bulk requests in flight, whose rows were read before."""

_HELD_SECONDS = 1.0
"""Seconds for the current portion to finish, or to reach the sink that accepts nothing."""


class Tail:
    """Follows a node's CDC segments and submits a signal for every change of a mapped table to `sink`.

    Each change is submitted at least once, and its receipt acknowledges it. The checkpoint follows the
    acknowledgements in order. A segment is deleted only when it is closed, read to its end, acknowledged, and the
    checkpoint behind it is durable (docs/guarantees.md, promise 6).

    The checkpoint is one position, although for a moment two segments can grow (see `lifecycle`), and a segment
    may appear with a lower id than the one being read. It means that in *this* segment everything before the offset is
    acknowledged. Every other segment in the folder that the store has not recorded as consumed is read from its
    beginning, lower ids too. So a store that keeps only the highest position loses nothing. A restart repeats at most
    the signals in flight and the few segments below the checkpoint that are not closed.

    `folder` is `cdc_raw`, and `commitlog` the commit-log folder of 3.11, which is only read (see `lifecycle`).
    `state` is the daemon's state directory, for the quarantine. `mapped` are the tables with a mapping; updates of
    other tables are counted and dropped while decoding. With a `division`, changes of keys that other nodes own are
    left to their daemons. `beat` is called with `tail` at least once a second while the
    tail is alive, also while it waits for a full pipeline. The tail takes no locks: hold a `DaemonLock` around it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        state: Path,
        sink: SignalSink,
        schema: SchemaProvider,
        mapped: Collection[TableName],
        checkpoints: CheckpointStore,
        dead_letters: DeadLetterStore,
        reconcile_requests: ReconcileRequestStore,
        seen: SeenSegmentStore,
        options: TailOptions | None = None,
        observer: TailObserver | None = None,
        beat: Callable[[str], None] = lambda _name: None,
        executor: Executor = in_thread,
        keyring: Keyring | None = None,
        commitlog: Path | None = None,
        division: Division | None = None,
    ) -> None:
        self._division = division
        self._folder = folder
        self._commitlog = commitlog
        self._sink = sink
        self._schema = schema
        self._mapped = frozenset(mapped)
        self._checkpoints = checkpoints
        self._seen = seen
        self._options = options or TailOptions()
        self._observer = observer or NullObserver()
        self._beat = beat
        self._executor = executor
        self._keyring = keyring
        quarantine = Quarantine(state)
        self._losses = LossRecorder(dead_letters, reconcile_requests, quarantine=quarantine, observer=self._observer)
        self._releaser = Releaser(
            checkpoints, quarantine=quarantine, observer=self._observer, delete=self._options.release
        )
        self._segments = TrackedSegments()
        self._keeper: CheckpointKeeper | None = None
        self._monitor: FolderMonitor | None = None
        self._work = asyncio.Event()
        self._stop = asyncio.Event()
        self._hurried = asyncio.Event()
        self._ended = asyncio.Event()
        self._deadline = 0.0
        self._held = False
        self._started = False
        self._read_all_at = float("-inf")

    @property
    def position(self) -> Position:
        """The position up to which everything is acknowledged and durably recorded."""
        return START if self._keeper is None else self._keeper.saved.position

    def backlog(self) -> Backlog:
        """Count the unacknowledged data in the folder."""
        if self._keeper is None:
            return Backlog(0, 0, None)
        return self._segments.backlog(self._keeper.acknowledged)

    async def wait_passed(self, seconds: float) -> None:
        """Wait until everything that the log will hold `seconds` from now is acknowledged."""
        moment = time.monotonic() + seconds
        while self._keeper is None or self._read_all_at < moment:  # noqa: ASYNC110 -- called seldom, while reading is frequent
            await asyncio.sleep(self._options.poll_interval)
        newest = self._keeper.opened
        while self._keeper.acknowledged.sequence < newest:  # noqa: ASYNC110 -- as above
            await asyncio.sleep(self._options.poll_interval)

    async def run(self) -> None:
        """Follow the folder until `stop` is called.

        Raises only permanent errors: a `StoreError` when the checkpoint cannot be loaded.
        """
        self._started = True
        try:
            keeper = await self._begin()
            reader = self._make_reader(keeper)
            monitor = self._monitor = self._make_monitor(keeper)
            watch = FolderWatch(self._folder, monitor.request_listing, commitlog=self._commitlog)
            tasks = [
                asyncio.create_task(keeper.run(), name="tail-checkpoint"),
                asyncio.create_task(monitor.run(), name="tail-monitor"),
                asyncio.create_task(watch.run(), name="tail-watch"),
                asyncio.create_task(self._read(reader, monitor), name="tail-read"),
            ]
            stop = asyncio.create_task(self._stop.wait(), name="tail-stop")
            try:
                await asyncio.wait([*tasks, stop], return_when=asyncio.FIRST_COMPLETED)
                if self._stop.is_set():
                    reader.stop()
                    await self._drain(tasks[-1], keeper)
            finally:
                await _cancel([*tasks, stop])
            for task in tasks:
                if not task.cancelled() and (error := task.exception()) is not None:
                    raise error
        finally:
            for segment in self._segments:
                segment.close()
            self._ended.set()

    async def stop(self, deadline: float = 10.0, *, held: bool = False) -> None:
        """Stop reading, wait up to `deadline` seconds for the open portions, save, and end `run`.

        With `held` the sink accepts nothing, so a portion that waits for the sink is abandoned.
        Unacknowledged changes are read again at the next start.
        """
        self._held = held
        self._deadline = time.monotonic() + deadline
        self._stop.set()
        self._work.set()
        if self._started:
            await self._ended.wait()

    def hurry(self) -> None:
        """End a stop within `_HURRIED_SECONDS`: only what is being written can still be acknowledged."""
        self._hurried.set()

    async def _begin(self) -> CheckpointKeeper:
        saved = await asyncio.to_thread(self._checkpoints.load, self._options.source)
        start = START if saved is None else Position(*saved)
        log.info("tail.started", folder=str(self._folder), position=str(start))
        self._keeper = CheckpointKeeper(
            self._checkpoints,
            source=self._options.source,
            start=start,
            observer=self._observer,
            interval=self._options.checkpoint_interval,
            limit=self._options.open_portions,
            on_saved=self._request_release,
        )
        return self._keeper

    def _make_reader(self, keeper: CheckpointKeeper) -> LogReader:
        return LogReader(
            self._segments,
            sink=self._sink,
            keeper=keeper,
            tables=KnownTables(self._schema, self._mapped),
            losses=self._losses,
            options=self._options,
            observer=self._observer,
            executor=self._executor,
            beat=self._beat,
            furthest=keeper.saved.position,
            keyring=self._keyring,
            division=self._division,
        )

    def _make_monitor(self, keeper: CheckpointKeeper) -> FolderMonitor:
        return FolderMonitor(
            CdcFolder(self._folder, commitlog=self._commitlog),
            self._segments,
            keeper=keeper,
            checkpoints=self._checkpoints,
            inventory=Inventory(self._seen, self._checkpoints, self._segments),
            releaser=self._releaser,
            losses=self._losses,
            options=self._options,
            observer=self._observer,
            on_change=self._work.set,
        )

    def _request_release(self) -> None:
        if self._monitor is not None:
            self._monitor.request_release()

    async def _read(self, reader: LogReader, monitor: FolderMonitor) -> None:
        while not self._stop.is_set():
            begun = time.monotonic()
            if await reader.read_all():
                monitor.request_release()
                continue
            self._read_all_at = begun
            # A timer alone costs less than a timeout around the wait, and this is what an idle daemon does most.
            timer = asyncio.get_running_loop().call_later(self._options.poll_interval, self._work.set)
            try:
                await self._work.wait()
            finally:
                timer.cancel()
            self._work.clear()

    async def _drain(self, reading: asyncio.Task[None], keeper: CheckpointKeeper) -> None:
        """Wait for what is open until the deadline, or a moment after `hurry`, and save."""
        waiting = asyncio.create_task(self._wait_open(reading, keeper), name="tail-drain")
        hurried = asyncio.create_task(self._hurried.wait(), name="tail-hurried")
        try:
            await asyncio.wait({waiting, hurried}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({waiting}, timeout=_HURRIED_SECONDS)
        finally:
            await _cancel([waiting, hurried])
        try:
            await keeper.save()
        except StoreError as error:
            log.warning("tail.checkpoint_failed", error=str(error), position=str(keeper.acknowledged.position))
        log.info("tail.stopped", position=str(keeper.saved.position), portions_unacknowledged=keeper.open_receipts)

    async def _wait_open(self, reading: asyncio.Task[None], keeper: CheckpointKeeper) -> None:
        """Wait for the current portion and for receipts until the deadline."""
        seconds = max(0.0, self._deadline - time.monotonic())
        done, _ = await asyncio.wait({reading}, timeout=min(seconds, _HELD_SECONDS) if self._held else seconds)
        if done or self._held:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._deadline - time.monotonic())):
                    await keeper.wait_empty(but=0 if done else 1)


async def _cancel(tasks: list[asyncio.Task[object]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class DisabledTail:
    """Reads nothing and only waits for the stop, as a tail does between changes."""

    def __init__(self) -> None:
        self._stop = asyncio.Event()

    @property
    def position(self) -> Position:
        """The start position: nothing was ever read."""
        return START

    def backlog(self) -> Backlog:
        """Return an empty backlog."""
        return Backlog(0, 0, None)

    async def wait_passed(self, seconds: float) -> None:
        """Wait for `seconds`: there is no log position to wait for."""
        await asyncio.sleep(seconds)

    async def run(self) -> None:
        """Wait until `stop` is called."""
        await self._stop.wait()

    async def stop(self, deadline: float = 10.0, *, held: bool = False) -> None:  # noqa: ARG002 -- as a tail's
        """End `run`."""
        self._stop.set()

    def hurry(self) -> None:
        """Do nothing: a stop takes no time."""
