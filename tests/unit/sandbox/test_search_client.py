from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from sandbox.search_client import make_async_search_client, make_search_client
from tests.unit.demo.fakes import serving


async def test_an_engine_with_another_name_is_spoken_to_in_plain_media_types() -> None:
    heard: list[tuple[str | None, str | None]] = []

    async def answer(request: web.Request) -> web.Response:
        heard.append((request.headers.get("Accept"), request.headers.get("Content-Type")))
        return web.json_response({"count": 1})

    def count(url: str) -> Any:
        with make_search_client(url) as client:
            return client.count(index="a", query={"match_all": {}})["count"]

    async with serving(answer) as url:
        assert await asyncio.to_thread(count, url) == 1
        async with make_async_search_client(url) as client:
            assert (await client.count(index="a", query={"match_all": {}}))["count"] == 1

    assert heard == [("application/json", "application/json")] * 2
