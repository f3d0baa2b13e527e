"""A mixed load on tables of every shape, with every scope of deletion, from several threads.

Keys are few, so that changes of one row meet: in a batch, in the pipeline, in flight.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from cassandra import DriverException, RequestExecutionException
from cassandra.cluster import NoHostAvailable, Session

from sandbox.threads import BackgroundThreads

TABLES = {
    "account": "id text PRIMARY KEY, name text, age int, tags set<text>, notes map<text, text>",
    "event": "p int, c int, d text, v int, tags set<text>, s text static, PRIMARY KEY (p, c, d)",
    "total": "p text, k int, n counter, PRIMARY KEY (p, k)",
}
"""Table to its columns; each needs `cdc = true`."""

_LOGGED = (
    "BEGIN BATCH "
    "INSERT INTO {ks}.account (id, name) VALUES (%s, %s); "
    "INSERT INTO {ks}.event (p, c, d) VALUES (%s, %s, 'batch'); "
    "UPDATE {ks}.account SET notes['batch'] = 'x' WHERE id = %s; "
    "APPLY BATCH"
)

_FAILURES = (DriverException, RequestExecutionException, NoHostAvailable)
"""What the driver raises when a server is down: whether the change was made is not known then."""

Change = tuple[str, Sequence[Any]]


class MixedLoad(BackgroundThreads):
    """Threads that change rows until they are stopped, each with random choices of its own.

    `rate` is the number of changes a second of all threads together, or None for as many as go. Failed
    changes are counted and not tried again. Leaving the block stops the threads and raises what else failed.
    """

    def __init__(
        self,
        session: Session,
        keyspace: str,
        *,
        threads: int = 3,
        rate: float | None = None,
        seed: int = 0,
        accounts: int = 300,
        partitions: int = 30,
    ) -> None:
        self.changes: Counter[str] = Counter()
        self.failed = 0
        self._session = session
        self._keyspace = keyspace
        self._pause = 0.0 if rate is None else threads / rate
        self._accounts = accounts
        self._partitions = partitions
        self._lock = threading.Lock()
        super().__init__(
            {
                f"load-{number}": partial(self._change_on, random.Random(f"{seed}-{number}"))  # noqa: S311 -- no secret
                for number in range(threads)
            }
        )

    @property
    def total(self) -> int:
        """The number of changes that were made."""
        return self.changes.total()

    def wait_total(self, total: int, *, seconds: float = 300.0) -> None:
        """Return when so many changes were made."""
        until = time.monotonic() + seconds
        while self.total < total:
            if self.broken:
                raise self.broken[0]
            if time.monotonic() > until:
                raise TimeoutError(f"expected {total} changes within {seconds:g} s, found {self.total}")
            time.sleep(0.01)

    def _change_on(self, chance: random.Random) -> None:
        due = time.monotonic()
        while not self.stopping.is_set():
            self._change(chance)
            due += self._pause
            if self._pause and self.stopping.wait(due - time.monotonic()):
                return

    def _change(self, chance: random.Random) -> None:
        (make,) = chance.choices(_MAKERS, _WEIGHTS)
        statement, values = make(self, chance)
        try:
            self._session.execute(statement.replace("{ks}", self._keyspace), values)
        except _FAILURES:
            with self._lock:
                self.failed += 1
            self.stopping.wait(0.05)
            return
        with self._lock:
            self.changes[make.__name__.removeprefix("_")] += 1

    def _account(self, chance: random.Random) -> str:
        return f"account-{chance.randrange(self._accounts)}"

    def _partition(self, chance: random.Random) -> int:
        # One partition in ten is changed half of the time.
        limit = self._partitions // 10 if chance.random() < 0.5 else self._partitions
        return chance.randrange(max(limit, 1))

    def _insert_account(self, chance: random.Random) -> Change:
        values = [self._account(chance), str(chance.random()), chance.randrange(100), _tags(chance)]
        return "INSERT INTO {ks}.account (id, name, age, tags) VALUES (%s, %s, %s, %s)", values

    def _update_account(self, chance: random.Random) -> Change:
        account, text, tags = self._account(chance), str(chance.random()), _tags(chance)
        choices: list[Change] = [
            ("UPDATE {ks}.account SET name = %s WHERE id = %s", [text, account]),
            ("UPDATE {ks}.account SET age = %s WHERE id = %s", [chance.randrange(100), account]),
            ("UPDATE {ks}.account SET tags = tags + %s WHERE id = %s", [tags, account]),
            ("UPDATE {ks}.account SET tags = tags - %s WHERE id = %s", [tags, account]),
            ("UPDATE {ks}.account SET notes['a'] = %s WHERE id = %s", [text, account]),
            ("UPDATE {ks}.account SET name = null, notes = null WHERE id = %s", [account]),
        ]
        return chance.choice(choices)

    def _transact_account(self, chance: random.Random) -> Change:
        if chance.random() < 0.5:
            return "INSERT INTO {ks}.account (id, age) VALUES (%s, 1) IF NOT EXISTS", [self._account(chance)]
        return "UPDATE {ks}.account SET age = 2 WHERE id = %s IF age = %s", [self._account(chance), chance.randrange(9)]

    def _delete_account(self, chance: random.Random) -> Change:
        return "DELETE FROM {ks}.account WHERE id = %s", [self._account(chance)]

    def _batch(self, chance: random.Random) -> Change:
        account = self._account(chance)
        values: list[Any] = [account, str(chance.random()), self._partition(chance), chance.randrange(9), account]
        return chance.choice((_LOGGED, _LOGGED.replace("BATCH", "UNLOGGED BATCH", 1))), values

    def _insert_event(self, chance: random.Random) -> Change:
        values = [self._partition(chance), chance.randrange(20), chance.choice("xyz"), chance.randrange(10**6)]
        return "INSERT INTO {ks}.event (p, c, d, v) VALUES (%s, %s, %s, %s)", values

    def _update_event(self, chance: random.Random) -> Change:
        key = [self._partition(chance), chance.randrange(20), chance.choice("xyz")]
        return chance.choice(
            [
                ("UPDATE {ks}.event SET v = %s WHERE p = %s AND c = %s AND d = %s", [chance.randrange(10**6), *key]),
                ("UPDATE {ks}.event SET v = null WHERE p = %s AND c = %s AND d = %s", key),
                ("UPDATE {ks}.event SET tags = tags + %s WHERE p = %s AND c = %s AND d = %s", [_tags(chance), *key]),
            ]
        )

    def _update_static(self, chance: random.Random) -> Change:
        partition = self._partition(chance)
        if chance.random() < 0.2:
            return "DELETE s FROM {ks}.event WHERE p = %s", [partition]
        return "UPDATE {ks}.event SET s = %s WHERE p = %s", [str(chance.random()), partition]

    def _delete_event(self, chance: random.Random) -> Change:
        values = [self._partition(chance), chance.randrange(20), chance.choice("xyz")]
        return "DELETE FROM {ks}.event WHERE p = %s AND c = %s AND d = %s", values

    def _delete_events(self, chance: random.Random) -> Change:
        partition, c = self._partition(chance), chance.randrange(20)
        return chance.choice(
            [
                ("DELETE FROM {ks}.event WHERE p = %s AND c = %s", [partition, c]),
                ("DELETE FROM {ks}.event WHERE p = %s AND c >= %s AND c < %s", [partition, c, c + 5]),
                ("DELETE FROM {ks}.event WHERE p = %s AND c = %s AND d > 'x'", [partition, c]),
                ("DELETE FROM {ks}.event WHERE p = %s AND c IN (%s, %s)", [partition, c, c + 3]),
            ]
        )

    def _delete_partition(self, chance: random.Random) -> Change:
        return "DELETE FROM {ks}.event WHERE p = %s", [self._partition(chance)]

    def _count(self, chance: random.Random) -> Change:
        values = [chance.randint(-5, 5), chance.choice("ab"), chance.randrange(10)]
        return "UPDATE {ks}.total SET n = n + %s WHERE p = %s AND k = %s", values


_Maker = Callable[[MixedLoad, random.Random], Change]

_SHARES: dict[_Maker, int] = {
    MixedLoad._insert_account: 20,
    MixedLoad._update_account: 30,
    MixedLoad._transact_account: 2,
    MixedLoad._delete_account: 6,
    MixedLoad._batch: 5,
    MixedLoad._insert_event: 20,
    MixedLoad._update_event: 12,
    MixedLoad._update_static: 3,
    MixedLoad._delete_event: 4,
    MixedLoad._delete_events: 4,
    MixedLoad._delete_partition: 1,
    MixedLoad._count: 4,
}
_MAKERS = tuple(_SHARES)
_WEIGHTS = tuple(_SHARES.values())


def _tags(chance: random.Random) -> set[str]:
    return set(chance.sample("abcdefgh", chance.randint(1, 3)))
