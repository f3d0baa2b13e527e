"""Freshness, measured from outside: from a write's acknowledgement to its document being readable."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import aiohttp
import orjson
from cassandra.cluster import Session

from sandbox.demo.client import write
from sandbox.demo.writer import WRITE_ERRORS

INSERT = "INSERT INTO sunbird.user (id, firstname, flagsvalue) VALUES (?, 'probe', ?)"
UPDATE = "UPDATE sunbird.user SET flagsvalue = ? WHERE id = ?"

_FIELD = "flagsValue"
_SPARE_IDS = 20
_POLL = 0.004
_POLL_WHEN_LATE = 0.05
_LATE = 0.5
_ASKED_AT_ONCE = 24
_POLL_WHEN_DOWN = 0.1
_REMEMBERED = 240


@dataclass(slots=True)
class Probe:
    """A write on its way: its value, and when it was acknowledged (`time.monotonic()`)."""

    value: int
    acknowledged: float
    undisturbed: bool


class Probes:
    """Writes `rate` probes a second, each an insert or a partial update of a row of its own, and looks for them.

    A probe is readable when a realtime multi-get by `_id` shows its value; the open probes are asked for every
    few milliseconds in one request, after an outage the oldest of them only: hundreds would be a load that
    keeps Elasticsearch from catching up. What is measured is never less than the truth: the write counts
    from its acknowledgement on, the read when its answer is here.
    """

    def __init__(self, session: Session, http: aiohttp.ClientSession, url: str, *, rate: float) -> None:
        self._session = session
        self._http = http
        self._url = f"{url}/_mget?filter_path=docs._id,docs._source&_source_includes={_FIELD}"
        self._rate = rate
        self._prepared: dict[str, Any] = {}
        self._open: dict[str, Probe] = {}
        self._spare: deque[str] = deque()
        self._value = 0
        self._arrived = asyncio.Event()
        self._seen = asyncio.Condition()
        self._stop = asyncio.Event()
        self.undisturbed = False
        self.undisturbed_times: list[float] = []
        self.times: list[float] = []
        self.recent: deque[float] = deque(maxlen=_REMEMBERED)
        self.failed = 0

    @property
    def open(self) -> int:
        """How many probes are written and not yet readable."""
        return len(self._open)

    @property
    def lag(self) -> float:
        """The age of the oldest acknowledged write that cannot be read yet, in seconds; 0 when there is none."""
        oldest = min((probe.acknowledged for probe in self._open.values()), default=None)
        return 0.0 if oldest is None else time.monotonic() - oldest

    async def run(self) -> None:
        """Probe until cancelled; `stop` ends the writing."""
        for cql in (INSERT, UPDATE):
            self._prepared[cql] = await asyncio.to_thread(self._session.prepare, cql)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._look(), name="look")
            tasks.create_task(self._write_many(tasks), name="probe")

    def stop(self) -> None:
        """Begin no more probes; those open are still looked for."""
        self._stop.set()

    async def wait_shown(self, until: float) -> None:
        """Return when each write that was acknowledged by then (`time.monotonic()`) is readable."""
        async with self._seen:
            await self._seen.wait_for(lambda: all(probe.acknowledged > until for probe in self._open.values()))

    async def write_last(self) -> None:
        """Write one more probe and return when it, and with it each one before it, is readable."""
        await self._write()
        async with self._seen:
            await self._seen.wait_for(lambda: not self._open)

    async def _write_many(self, tasks: asyncio.TaskGroup) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            tasks.create_task(self._write())
            due = max(due + 1 / self._rate, time.monotonic())
            await asyncio.sleep(due - time.monotonic())

    async def _write(self) -> None:
        self._value += 1
        value, undisturbed = self._value, self.undisturbed
        known = len(self._spare) > _SPARE_IDS
        name = self._spare.popleft() if known else f"probe-{value:06}"
        values = (value, name) if known else (name, value)
        try:
            moment = await write(self._session, self._prepared[UPDATE if known else INSERT], values)
        except WRITE_ERRORS:
            self.failed += 1
            return
        self._open[name] = Probe(value, moment, undisturbed)
        self._arrived.set()

    async def _look(self) -> None:
        while True:
            if not self._open:
                self._arrived.clear()
                await self._arrived.wait()
            try:
                await self._look_once()
            except (aiohttp.ClientError, TimeoutError, ValueError):
                await asyncio.sleep(_POLL_WHEN_DOWN)
            await asyncio.sleep(_POLL if self.lag < _LATE else _POLL_WHEN_LATE)

    async def _look_once(self) -> None:
        async with self._http.post(
            self._url,
            data=orjson.dumps({"ids": list(islice(self._open, _ASKED_AT_ONCE))}),
            headers={"content-type": "application/json"},
        ) as answer:
            body = orjson.loads(await answer.read())
            if answer.status != 200:
                raise ValueError(f"status {answer.status}")
        self._take(body["docs"], time.monotonic())
        async with self._seen:
            self._seen.notify_all()

    def _take(self, documents: Sequence[dict[str, Any]], now: float) -> None:
        for document in documents:
            name = document["_id"]
            probe = self._open[name]
            if document.get("_source", {}).get(_FIELD) != probe.value:
                continue
            del self._open[name]
            self._spare.append(name)
            seconds = max(now - probe.acknowledged, 0.0)
            self.times.append(seconds)
            self.recent.append(seconds)
            if probe.undisturbed:
                self.undisturbed_times.append(seconds)
