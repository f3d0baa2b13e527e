"""The load of a run: threads that change rows at a steady rate, and a probe that measures how far search lags."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from types import TracebackType
from typing import Self

from cassandra import DriverException, InvalidRequest, RequestExecutionException
from cassandra.cluster import NoHostAvailable, Session

from bench.torture.changes import Changes

FAILURES = (DriverException, RequestExecutionException, NoHostAvailable)
"""What the driver raises when a server is down or a table is gone: whether the change was made is not known then."""


class Load:
    """Threads that make random changes until they are stopped. Failed changes are counted and not tried again."""

    def __init__(self, session: Session, changes: Changes, *, rate: float, seed: int, threads: int = 2) -> None:
        self.made = 0
        self.failed: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        """The statements that Cassandra found wrong: of a table that is dropped just now, or a mistake in the load."""
        self._session = session
        self._changes = changes
        self._pause = threads / rate
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._broken: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._run, args=(random.Random(f"load {seed} {at}"),), name=f"load-{at}")  # noqa: S311
            for at in range(threads)
        ]

    def stop(self) -> None:
        """Stop, and return when no change is in flight. Raises the error of a thread."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self._broken:
            raise self._broken[0]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if kind is None:
            self.stop()

    def _run(self, chance: random.Random) -> None:
        try:
            due = time.monotonic()
            while not self._stop.is_set():
                self._change(chance)
                due = max(due + self._pause, time.monotonic() - 1)  # no burst after a long outage
                self._stop.wait(due - time.monotonic())
        except BaseException as error:  # noqa: BLE001 -- it is raised where the threads are joined
            self._broken.append(error)

    def _change(self, chance: random.Random) -> None:
        statement, values = self._changes.make(chance, time.time_ns() // 1000)
        try:
            self._session.execute(statement, values)
        except InvalidRequest as error:
            with self._lock:
                self.refused[str(error)[:160]] += 1
        except FAILURES as error:
            with self._lock:
                self.failed[type(error).__name__] += 1
            self._stop.wait(0.1)
        else:
            with self._lock:
                self.made += 1
