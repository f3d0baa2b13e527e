"""A table is moved to a new index and back while its rows change and searches run; no search may fail."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cassandra.cluster import Session
from elasticsearch import ApiError, Elasticsearch, TransportError

from bench.tables import ALIAS, TABLE, fill, make_table, write_config
from cdc_daemon.cli.client import DaemonClient
from cdc_daemon.cli.indices import IndicesClient
from cdc_daemon.cli.jobs import JobsClient
from cdc_daemon.config import load
from sandbox import Sandbox
from sandbox.compare import Comparison, compare
from sandbox.ports import PortReservation
from sandbox.threads import BackgroundThreads

SETTLED_SECONDS = 300.0
"""How long the daemon may take, after the changes have ended, to show all of them."""

SEARCHERS = 2
_LAST = "the-last-row"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class SwapFigures:
    """The results: rows in the table, seconds from the job's beginning to the swap, changes made meanwhile.

    `searches` were made, `failed` are what those said that failed, `slowest` is in seconds. `swapped` and `rolled_back`
    are the comparisons of every row with every document after the swap and after the rollback.
    """

    rows: int
    seconds: float
    changes: int
    searches: int
    failed: tuple[str, ...]
    slowest: float
    swapped: Comparison
    rolled_back: Comparison

    @property
    def is_good(self) -> bool:
        """Whether no search failed and both comparisons are equal."""
        return not self.failed and self.swapped.is_equal and self.rolled_back.is_equal

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "rows": self.rows,
            "seconds": round(self.seconds, 1),
            "rows_per_second": round(self.rows / self.seconds),
            "changes": self.changes,
            "searches": self.searches,
            "searches_failed": len(self.failed),
            "slowest_search_seconds": round(self.slowest, 3),
            "equal_after_swap": self.swapped.is_equal,
            "equal_after_rollback": self.rolled_back.is_equal,
        }


class Traffic(BackgroundThreads):
    """Changes rows at a rate, and searches through the alias one search after another, until the end of its block.

    A search fails that raises, that a shard fails, or that finds less than nine tenths of the rows.
    """

    def __init__(self, session: Session, url: str, *, rows: int, rate: float) -> None:
        self.changes = 0
        self.searches = 0
        self.failed: list[str] = []
        self.slowest = 0.0
        self._session = session
        self._url = url
        self._rows = rows
        self._rate = rate
        self._lock = threading.Lock()
        super().__init__({"change": self._change, **{f"search-{n}": self._search for n in range(SEARCHERS)}})

    def _change(self) -> None:
        update = self._session.prepare(f"UPDATE {TABLE} SET field0 = ? WHERE id = ?")  # noqa: S608 -- a constant
        remove = self._session.prepare(f"DELETE FROM {TABLE} WHERE id = ?")  # noqa: S608 -- a constant
        chance = random.Random(1)  # noqa: S311 -- rows, no secret
        began = time.monotonic()
        while not self.stopping.is_set():
            # The load removes too few rows for a search to look like one in an index that is not filled.
            key = f"00000000-0000-4000-8000-{chance.randrange(self._rows):012}"
            if chance.random() < 0.05 and self.changes < self._rows:
                self._session.execute(remove, [key])
            else:
                self._session.execute(update, [f"change {self.changes}", key])
            self.changes += 1
            self.stopping.wait(max(0.0, began + self.changes / self._rate - time.monotonic()))

    def _search(self) -> None:
        with Elasticsearch(self._url, request_timeout=30, max_retries=0) as client:
            while not self.stopping.wait(0.01):
                began = time.perf_counter()
                failure = self._try(client)
                took = time.perf_counter() - began
                with self._lock:
                    self.searches += 1
                    self.slowest = max(self.slowest, took)
                    if failure is not None:
                        self.failed.append(failure)

    def _try(self, client: Elasticsearch) -> str | None:
        try:
            answer = client.search(index=ALIAS, size=1, track_total_hits=True)
        except (ApiError, TransportError) as error:
            return str(error)
        found, shards = answer["hits"]["total"]["value"], answer["_shards"]
        if shards["failed"] or found < 0.9 * self._rows:
            return f"{found} documents, {shards['failed']} shards failed"
        return None


def measure(*, rows: int, rate: float, say: Say) -> SwapFigures:
    """Build and swap an index of so many rows under so many changes a second, compare, roll back, compare, drop."""
    with closing(PortReservation()) as ports, Sandbox() as box, box.connect() as session:
        make_table(session)
        port = ports.reserve()
        token = secrets.token_hex(32)
        config = write_config(box, port, token)
        program = str(Path(sys.executable).with_name("cdc-daemon"))
        daemon = box.add("daemon", [program, "run", "--config", str(config)], output=config.with_name("daemon.log"))
        say(f"writing {rows:,} rows")
        fill(session, rows)
        session.execute(f"ALTER TABLE {TABLE} WITH cdc = true")
        daemon.start()
        client = DaemonClient(f"http://127.0.0.1:{port}", token=token, patience=120)
        jobs, indices = JobsClient(client), IndicesClient(client)
        say("filling the first index")
        _finish(jobs, {"types": ["person"]})
        url = box.elasticsearch.url
        with Elasticsearch(url) as elastic:
            elastic.indices.refresh(index=ALIAS)
        say(f"building the second under {rate:g} changes a second and searches")
        with Traffic(session, url, rows=rows, rate=rate) as traffic:
            job = _finish(jobs, {"types": ["person"], "new_index": True})
            plan = job["report"]["new_index"]["person"]
            say(f"{plan['index']} has taken the place of {plan['in_place_of']}; comparing")
            made = traffic.searches
            while traffic.searches < made + 100:
                time.sleep(0.05)
        swapped = _compare(session, config, url, port, f"{_LAST}-1")
        say(f"{swapped}; rolling back under the same changes and searches")
        with Traffic(session, url, rows=rows, rate=rate) as back:
            time.sleep(2)
            indices.rollback("person")
            time.sleep(2)
        rolled_back = _compare(session, config, url, port, f"{_LAST}-2")
        say(f"{rolled_back}; dropping {plan['index']}")
        indices.drop("person")
        return SwapFigures(
            rows=rows,
            seconds=job["finished"] - job["started"],
            changes=traffic.changes + back.changes,
            searches=traffic.searches + back.searches,
            failed=(*traffic.failed, *back.failed),
            slowest=max(traffic.slowest, back.slowest),
            swapped=swapped,
            rolled_back=rolled_back,
        )


def _finish(jobs: JobsClient, wanted: dict[str, Any]) -> dict[str, Any]:
    *_, job = jobs.follow(jobs.start("backfill", wanted)["job"])
    assert job["state"] == "done", job
    return job


def _compare(session: Session, config: Path, url: str, port: int, last: str) -> Comparison:
    """Wait until a row that is written now is shown and nothing is pending, and compare."""
    session.execute(f"INSERT INTO {TABLE} (id, field0) VALUES (%s, 'last')", [last])  # noqa: S608 -- constants
    until = time.monotonic() + SETTLED_SECONDS
    with Elasticsearch(url) as client:
        while not (client.options(ignore_status=404).get(index=ALIAS, id=last).get("found") and _is_idle(port)):
            assert time.monotonic() < until, "the last change was not settled in time"
            time.sleep(0.1)
    (found,) = asyncio.run(compare(load(config)))
    return found


def _is_idle(port: int) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=10) as answer:
        status: dict[str, Any] = json.load(answer)
    return bool(status["pending"] == 0 and status["backlog"]["bytes"] == 0)
