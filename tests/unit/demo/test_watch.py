from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web

from sandbox.demo.errors import DemoError
from sandbox.demo.stage import Stage
from sandbox.demo.watch import Watch
from tests.unit.demo.fakes import serving, wait_until

_IDLE = {"state": "running", "pending": 0, "dependents_waiting": 0, "backlog": {"bytes": 0}, "position": "1:100"}


@dataclass
class _Stage:
    daemon_url: str = ""
    index_url: str = ""
    daemon_is_alive: bool = True


@dataclass
class _Daemon:
    """Answers /status by a list of answers; the last of them stays."""

    statuses: list[dict[str, Any] | None] = field(default_factory=list)
    asked: int = 0

    async def answer(self, request: web.Request) -> web.Response:
        if request.path.endswith("/_count"):
            return web.json_response({"count": 7})
        self.asked += 1
        status = self.statuses[min(self.asked, len(self.statuses)) - 1]
        return web.Response(status=500) if status is None else web.json_response(status)


async def _drain(*statuses: dict[str, Any] | None) -> int:
    """Return after how many questions the daemon counted as drained."""
    daemon = _Daemon(list(statuses))
    async with serving(daemon.answer) as url, aiohttp.ClientSession() as http:
        watch = Watch(cast("Stage", _Stage(url, f"{url}/user_alias")), http)
        await asyncio.wait_for(watch.wait_drained(), 20)
    return daemon.asked


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_EVERY", "_STILL_EVERY", "_POLL"):
        monkeypatch.setattr(f"sandbox.demo.watch.{name}", 0.002)


async def test_drained_is_what_stands_still() -> None:
    assert await _drain(_IDLE) == 5


@pytest.mark.parametrize(
    "busy",
    [
        _IDLE | {"pending": 1},
        _IDLE | {"dependents_waiting": 1},
        _IDLE | {"backlog": {"bytes": 10}},
        _IDLE | {"state": "starting"},
        None,
    ],
)
async def test_whatever_is_under_way_begins_the_wait_anew(busy: dict[str, Any] | None) -> None:
    assert await _drain(_IDLE, _IDLE, _IDLE, busy, _IDLE) == 4 + 5


async def test_a_checkpoint_that_moves_is_not_drained() -> None:
    assert await _drain(_IDLE, _IDLE, _IDLE | {"position": "1:200"}) == 2 + 5


async def test_a_daemon_that_ends_by_itself_is_a_failure() -> None:
    stage = _Stage("http://127.0.0.1:9", "http://127.0.0.1:9", daemon_is_alive=False)
    async with aiohttp.ClientSession() as http:
        watch = Watch(cast("Stage", stage), http)
        with pytest.raises(DemoError, match="found it ended"):
            await watch.run()
        with pytest.raises(DemoError, match="found it ended"):
            await watch.wait_running()


async def test_a_daemon_that_was_killed_is_none() -> None:
    stage = _Stage("http://127.0.0.1:9", "http://127.0.0.1:9", daemon_is_alive=False)
    async with aiohttp.ClientSession() as http:
        watch = Watch(cast("Stage", stage), http)
        watch.killed = True
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(watch.run(), 0.1)
        assert watch.status is None
        assert watch.documents is None


async def test_it_waits_for_the_start_and_counts_documents() -> None:
    daemon = _Daemon([None, {"state": "starting"}, _IDLE])
    async with serving(daemon.answer) as url, aiohttp.ClientSession() as http:
        watch = Watch(cast("Stage", _Stage(url, f"{url}/user_alias")), http)
        await watch.wait_running()
        assert daemon.asked == 3
        watching = asyncio.create_task(watch.run())
        await wait_until(lambda: watch.documents is not None)
        watching.cancel()
        assert watch.documents == 7
        assert watch.is_running
