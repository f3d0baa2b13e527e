from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from sandbox.demo.probe import Probes
from tests.unit.demo.fakes import FakeSession, serving, wait_until


class _Index:
    """An index that shows what was written to Cassandra while `follows`, and answers while `is_up`."""

    def __init__(self, session: FakeSession) -> None:
        self._session = session
        self._documents: dict[str, int] = {}
        self._applied = 0
        self.follows = True
        self.is_up = True
        self.requests = 0
        self.largest = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.requests += 1
        if not self.is_up:
            return web.Response(status=503, text="{}")
        if self.follows:
            for statement, values in self._session.executed[self._applied :]:
                name, value = values if statement.startswith("INSERT") else reversed(values)
                self._documents[name] = value
            self._applied = len(self._session.executed)
        ids = orjson.loads(await request.read())["ids"]
        self.largest = max(self.largest, len(ids))
        assert request.path.endswith("/_mget")
        return web.json_response({"docs": [self._document(name) for name in ids]})

    def _document(self, name: str) -> dict[str, Any]:
        if name not in self._documents:
            return {"_id": name}
        return {"_id": name, "_source": {"flagsValue": self._documents[name]}}


@asynccontextmanager
async def _probing(rate: float = 100.0) -> AsyncIterator[tuple[Probes, _Index, FakeSession]]:
    session = FakeSession()
    index = _Index(session)
    async with serving(index.answer) as url, aiohttp.ClientSession() as http:
        probes = Probes(session, http, f"{url}/user_alias", rate=rate)
        running = asyncio.create_task(probes.run())
        try:
            yield probes, index, session
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def test_probes_are_inserts_first_and_updates_of_the_same_rows_then() -> None:
    async with _probing(rate=400) as (probes, _, session):
        await wait_until(lambda: len(probes.times) >= 60)

    cqls = [statement.split()[0] for statement, _ in session.executed]
    assert cqls[:20] == ["INSERT"] * 20
    assert "UPDATE" in cqls
    names = {values[0] if statement.startswith("INSERT") else values[1] for statement, values in session.executed}
    assert len(names) == cqls.count("INSERT")
    assert all(seconds >= 0 for seconds in probes.times)
    assert probes.undisturbed_times == []


async def test_a_probe_stays_open_until_its_new_value_is_there() -> None:
    async with _probing() as (probes, index, _):
        await wait_until(lambda: len(probes.times) >= 3)
        index.follows = False
        await wait_until(lambda: probes.open >= 5)
        seen, requests = len(probes.times), index.requests
        await wait_until(lambda: index.requests > requests + 3)
        assert len(probes.times) == seen
        assert probes.lag > 0

        moment = time.monotonic()
        waiting = asyncio.create_task(probes.wait_shown(moment))
        await asyncio.sleep(0)
        assert not waiting.done()
        index.follows = True
        await asyncio.wait_for(waiting, 10)
        assert len(probes.times) >= seen + 5


async def test_many_open_probes_are_not_all_asked_for_at_once() -> None:
    async with _probing(rate=400) as (probes, index, _):
        index.follows = False
        await wait_until(lambda: probes.open >= 100)
        index.follows = True
        await wait_until(lambda: len(probes.times) >= 100)
        assert index.largest == 24


async def test_it_outlives_an_index_that_is_away() -> None:
    async with _probing() as (probes, index, _):
        index.is_up = False
        await wait_until(lambda: index.requests >= 2)
        assert probes.times == []
        index.is_up = True
        await wait_until(lambda: probes.times)


async def test_only_probes_written_undisturbed_count_as_such() -> None:
    async with _probing() as (probes, _, _):
        probes.undisturbed = True
        await wait_until(lambda: len(probes.undisturbed_times) >= 3)
        probes.undisturbed = False
        await wait_until(lambda: len(probes.times) >= len(probes.undisturbed_times) + 3)
        assert len(probes.undisturbed_times) <= len(probes.times) - 3


async def test_the_last_probe_is_waited_for_after_the_stop() -> None:
    async with _probing() as (probes, index, session):
        await wait_until(lambda: probes.times)
        probes.stop()
        index.follows = False
        waiting = asyncio.create_task(probes.write_last())
        await wait_until(lambda: probes.open >= 1)
        assert not waiting.done()
        index.follows = True
        await asyncio.wait_for(waiting, 10)
        assert probes.open == 0
        assert probes.lag == 0
        written = len(session.executed)
        await asyncio.sleep(0.05)
        assert len(session.executed) == written


async def test_a_probe_that_is_not_acknowledged_is_not_looked_for() -> None:
    async with _probing() as (probes, _, session):
        session.fail = True
        await wait_until(lambda: probes.failed >= 3)
        session.fail = False
        await wait_until(lambda: probes.times)
        assert len(probes.times) + probes.open + probes.failed <= len(session.executed)
