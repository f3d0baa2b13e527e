"""The load of a run: threads that change rows at a steady rate, and a probe that measures how far search lags."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from functools import partial

from cassandra import DriverException, InvalidRequest, RequestExecutionException
from cassandra.cluster import NoHostAvailable, Session

from bench.torture.changes import Changes
from sandbox.threads import BackgroundThreads

FAILURES = (DriverException, RequestExecutionException, NoHostAvailable)
"""What the driver raises when a server is down or a table is gone: whether the change was made is not known then."""


class Load(BackgroundThreads):
    """Threads that make random changes until they are stopped. Failed changes are counted and not tried again."""

    def __init__(self, session: Session, changes: Changes, *, rate: float, seed: int, threads: int = 2) -> None:
        self.made = 0
        self.failed: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        """The statements that Cassandra found wrong: of a table that is dropped just now, or a mistake in the load."""
        self._session = session
        self._changes = changes
        self._pause = threads / rate
        self._lock = threading.Lock()
        super().__init__(
            {
                f"load-{at}": partial(self._change_on, random.Random(f"load {seed} {at}"))  # noqa: S311 -- no secret
                for at in range(threads)
            }
        )

    def _change_on(self, chance: random.Random) -> None:
        due = time.monotonic()
        while not self.stopping.is_set():
            self._change(chance)
            due = max(due + self._pause, time.monotonic() - 1)  # no burst after a long outage
            self.stopping.wait(due - time.monotonic())

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
            self.stopping.wait(0.1)
        else:
            with self._lock:
                self.made += 1
