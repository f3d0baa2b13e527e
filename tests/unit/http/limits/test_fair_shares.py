"""Greedy and slow callers on real sockets do not block a polite one."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from cdc_daemon.config import AuthSettings, HttpSettings, TokenSettings
from cdc_daemon.model.errors import Trouble
from cdc_daemon.model.signal import Key, Signal
from cdc_daemon.pipeline.ports import Watch
from cdc_http import create_app
from cdc_http.connections.slots import network_of
from cdc_http.limits.usage import caller_key
from tests.unit.http.asking import rows
from tests.unit.http.fake import LENIENT, FakeDaemon, FakePipeline
from tests.unit.http.serving import Serving, answered, heading, posting, serving, until

pytestmark = pytest.mark.slow

WORK_SECONDS = 0.002


class SlowPipeline(FakePipeline):
    """Takes some time for each request."""

    def request(self, signals: Iterable[Signal], watch: Watch) -> None:
        keys = [Key.of(signal) for signal in signals]
        asyncio.get_running_loop().call_later(WORK_SECONDS, self._settle, keys, watch)


def _token(name: str) -> TokenSettings:
    return TokenSettings(name=name, hash="sha256:" + hashlib.sha256(name.encode()).hexdigest())


AUTH = AuthSettings(tokens=(_token("greedy"), _token("polite")))

PATIENT: Any = {"queue_timeout": 240.0, "sync_timeout": 480.0}
"""Nobody is refused because this machine is slow."""


def _app(settings: HttpSettings) -> ASGIApp:
    daemon = FakeDaemon(pipeline=SlowPipeline())
    return create_app(daemon, settings)


async def test_bodies_that_trickle_in_take_no_place_of_work() -> None:
    async with serving(_app(LENIENT.model_copy(update={"max_requests": 4}))) as running:
        for _ in range(40):
            _, writer = await running.connect()
            writer.write(heading(1000) + b"{")
            await writer.drain()
        await asyncio.sleep(0.1)
        answer = await running.ask(posting(rows("user", "u1"), close=True))
        assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("auth", "greedy", "polite", "source"),
    [
        pytest.param(AUTH, "greedy", "polite", None, id="by token"),
        pytest.param(AuthSettings(), None, None, "127.0.0.2", id="by address"),
        # A token that nobody has checked makes no caller of its own.
        pytest.param(AuthSettings(), "greedy", "greedy", "127.0.0.2", id="by address, with an unchecked token"),
        pytest.param(AuthSettings(), None, None, None, id="of one address, in the order of the queue"),
    ],
)
async def test_a_polite_caller_is_served_beside_two_hundred_greedy_connections(
    auth: AuthSettings, greedy: str | None, polite: str | None, source: str | None
) -> None:
    settings = HttpSettings(contract="lenient", auth=auth, max_requests=4, **PATIENT)
    async with serving(_app(settings)) as running:
        done: list[int] = []
        crowd = [asyncio.create_task(_ask_without_end(running, greedy, done)) for _ in range(200)]
        await until(lambda: len(done) >= 200)
        statuses = []
        # In one queue each request waits for all the others, so there are fewer.
        tries = 23 if polite or source else 3
        for at in range(tries):
            reader, writer = await running.connect(source)
            writer.write(posting(rows("user", f"u{at}"), token=polite, close=True))
            statuses.append((await answered(reader))[0])
        for task in crowd:
            task.cancel()
        await asyncio.gather(*crowd, return_exceptions=True)
        assert statuses == [200] * tries
        assert set(done) == {200}


async def test_who_asks_for_more_than_the_queue_holds_is_told_when_to_ask_again() -> None:
    settings = HttpSettings(contract="lenient", auth=AUTH, max_requests=1, max_waiting=10, **PATIENT)
    async with serving(_app(settings)) as running:
        done: list[int] = []
        crowd = [asyncio.create_task(_ask_without_end(running, "greedy", done)) for _ in range(20)]
        await until(lambda: {200, 429} <= {*done})
        reader, writer = await running.connect()
        for at in range(5):
            writer.write(posting(rows("user", f"u{at}"), token="polite"))
            assert (await answered(reader))[0] == 200
        for task in crowd:
            task.cancel()
        await asyncio.gather(*crowd, return_exceptions=True)


async def test_a_caller_that_leaves_gives_its_turn_up() -> None:
    daemon = FakeDaemon()
    daemon.pipeline.held = Trouble("cassandra", "no answer")
    app = create_app(daemon, LENIENT.model_copy(update={"max_requests": 1, "max_waiting": 1}))
    async with serving(app) as running:
        _, writer = await running.connect()
        writer.write(posting(rows("user", "u")))
        await until(lambda: daemon.pipeline.asked)
        _, writer = await running.connect()
        writer.write(posting(rows("user", "v")))
        assert (await running.ask(posting(rows("user", "w"), close=True))).startswith(b"HTTP/1.1 429 ")
        writer.close()
        waiting = asyncio.create_task(running.ask(posting(rows("user", "x"), close=True)))
        await until(daemon.metrics.http_requests.labels("sync", "400")._value.get)
        daemon.service.stop()
        assert b"v" not in [key.partition_key for key in daemon.pipeline.asked]
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def test_bodies_of_a_greedy_caller_take_no_room_of_others() -> None:
    """Bodies are held in part until they are whole: so many of them that there is no room for one more byte."""
    settings = HttpSettings(contract="lenient", auth=AUTH, max_body=100_000, max_bodies=1_000_000)
    async with serving(_app(settings)) as running:
        greedy = []
        for _ in range(40):
            reader, writer = await running.connect()
            writer.write(heading(100_000, token="greedy") + b" " * 90_000)
            await writer.drain()
            greedy.append(reader)
        refused = [asyncio.create_task(answered(reader)) for reader in greedy]
        await until(lambda: sum(task.done() for task in refused) >= 29)
        content = json.dumps(rows("user", "u")).encode()
        reader, writer = await running.connect()
        writer.write(posting(content + b" " * (99_000 - len(content)), token="polite", close=True))
        status, _, _ = await answered(reader)
        assert status == 200
        for task in refused:
            if task.done():
                status, headers, body = task.result()
                assert (status, headers["retry-after"], headers["connection"]) == (429, "1", "close")
                assert b"The request bodies together exceed 1000000 bytes." in body
            task.cancel()
        await asyncio.gather(*refused, return_exceptions=True)


async def test_a_request_that_waits_loses_its_body_and_its_turn() -> None:
    daemon = FakeDaemon()
    daemon.pipeline.held = Trouble("cassandra", "no answer")
    settings = HttpSettings(contract="lenient", auth=AUTH, max_requests=1, max_body=1000, max_bodies=1000)
    async with serving(create_app(daemon, settings)) as running:
        _, writer = await running.connect()
        writer.write(posting(rows("user", "first"), token="greedy"))
        await until(lambda: daemon.pipeline.asked)
        reader, writer = await running.connect()
        writer.write(posting(_padded("second", 900), token="greedy"))
        polite_reader, polite = await running.connect()
        polite.write(posting(_padded("third", 800), token="polite"))
        assert (await answered(reader))[0] == 429
        daemon.pipeline.held = None
        daemon.service.stop()
        assert (await answered(polite_reader))[0] == 200
        assert [key.partition_key for key in daemon.pipeline.asked] == [b"first", b"third"]


def _padded(name: str, size: int) -> bytes:
    content = json.dumps(rows("user", name)).encode()
    return content + b" " * (size - len(content))


async def test_an_address_that_a_caller_claims_makes_no_other_caller_of_it() -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(caller_key(Request(scope)))
        await Response()(scope, receive, send)

    async with serving(app) as running:
        for address in ("203.0.113.1", "203.0.113.2"):
            head = f"GET / HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: {address}\r\nConnection: close\r\n\r\n"
            await running.ask(head.encode())
    assert seen == ["address 127.0.0.1"] * 2


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
    ],
)
def test_a_network_counts_as_one_caller(host: str, network: str) -> None:
    assert network_of((host, 1)) == network
    assert network_of(None) == ""


async def _ask_without_end(running: Serving, token: str | None, done: list[int]) -> None:
    with suppress(ConnectionError, asyncio.IncompleteReadError):
        reader, writer = await running.connect()
        while True:
            writer.write(posting(rows("user", "g"), token=token))
            done.append((await answered(reader))[0])
