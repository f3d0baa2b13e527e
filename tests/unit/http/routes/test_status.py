"""Server-sent events: their content, the limit of viewers, and how a stream ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest
import yaml

from cdc_http import HttpServer, StatusStream, create_app
from cdc_http.routes.pages import openapi_description
from tests.unit.http.asking import ask
from tests.unit.http.fake import FakeDaemon


class Event(NamedTuple):
    name: str
    data: Any


class Viewer:
    """A connection that reads events as a browser does."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self.head = b""
        self._text = b""

    async def begin(self) -> None:
        self.writer.write(b"GET /events HTTP/1.1\r\nHost: test\r\nAccept: text/event-stream\r\n\r\n")
        self.head = await self._reader.readuntil(b"\r\n\r\n")

    @property
    def status(self) -> int:
        return int(self.head.split()[1])

    async def next(self) -> Event:
        """Return the next event; raise EOFError at the stream's end."""
        while b"\n\n" not in self._text:
            size = int(await self._reader.readline(), 16)
            self._text += await self._reader.readexactly(size)
            await self._reader.readexactly(2)
            if not size:
                raise EOFError
        block, _, self._text = self._text.partition(b"\n\n")
        fields = dict(line.split(": ", 1) for line in block.decode().splitlines())
        if "event" not in fields:
            return await self.next()
        return Event(fields["event"], json.loads(fields["data"]))

    async def until(self, name: str) -> Any:
        """Return the data of the next event of this name."""
        async with asyncio.timeout(10):
            while (event := await self.next()).name != name:
                pass
        return event.data


class Counted(FakeDaemon):
    """Counts how often it is looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    def status(self) -> Any:
        self.looks += 1
        return super().status()


class Surface:
    """A server with events."""

    def __init__(self, daemon: FakeDaemon, **limits: Any) -> None:
        self.events = StatusStream(daemon, **{"pause": 0.02, **limits})
        self.server = HttpServer(create_app(daemon, events=self.events), host="127.0.0.1", port=0)
        self._writers: list[asyncio.StreamWriter] = []

    async def view(self) -> Viewer:
        viewer = Viewer(*await asyncio.open_connection("127.0.0.1", self.server.port))
        self._writers.append(viewer.writer)
        await viewer.begin()
        return viewer

    async def only(self, viewers: int) -> None:
        """Wait until no more than so many are left."""
        while self.events.viewers > viewers:  # noqa: ASYNC110 -- the server tells nobody
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        await self.events.close()
        await self.server.stop()
        for writer in self._writers:
            writer.close()


@asynccontextmanager
async def serving(daemon: FakeDaemon, **limits: Any) -> AsyncIterator[Surface]:
    surface = Surface(daemon, **limits)
    await surface.server.start()
    try:
        yield surface
    finally:
        await surface.stop()


async def test_a_viewer_gets_trend_and_status_at_once_and_then_what_changes() -> None:
    daemon = FakeDaemon()
    async with serving(daemon) as surface:
        viewer = await surface.view()
        assert viewer.status == 200
        assert b"content-type: text/event-stream" in viewer.head
        assert b"cache-control: no-store" in viewer.head
        assert await viewer.next() == ("trend", daemon.lines)
        first = await viewer.next()
        assert (first.name, first.data["status"]) == ("status", daemon.state)
        assert first.data["at"] > 1.7e9
        daemon.state = {"pending": 4}
        assert (await viewer.until("status"))["status"] == {"pending": 4}
        daemon.lines = {**daemon.lines, "end": 10.0}
        assert (await viewer.until("trend"))["end"] == 10.0


async def test_without_a_change_there_are_beats_only() -> None:
    async with serving(FakeDaemon(), heartbeat=0.05) as surface:
        viewer = await surface.view()
        await viewer.until("status")
        assert {(await viewer.next()).name for _ in range(4)} == {"beat"}


async def test_many_viewers_share_one_look_and_nobody_causes_none() -> None:
    daemon = Counted()
    async with serving(daemon, pause=30.0) as surface:
        viewers = [await surface.view() for _ in range(8)]
        assert len({json.dumps(await viewer.until("status")) for viewer in viewers}) >= 1
        assert daemon.looks == 1
    assert daemon.looks == 1


async def test_a_viewer_who_comes_later_sees_what_is_then() -> None:
    daemon = FakeDaemon()
    async with serving(daemon, pause=30.0) as surface:
        first = await surface.view()
        await first.until("status")
        first.writer.close()
        await first.writer.wait_closed()
        await surface.only(0)
        daemon.state = {"pending": 9}
        second = await surface.view()
        assert (await second.until("status"))["status"] == {"pending": 9}


async def test_more_viewers_than_may_be_are_told_to_come_again() -> None:
    async with serving(FakeDaemon(), most=2) as surface:
        first, second = await surface.view(), await surface.view()
        refused = await surface.view()
        assert (refused.status, b"retry-after: 10" in refused.head) == (503, True)
        first.writer.close()
        await surface.only(1)
        again = await surface.view()
        assert again.status == 200
        assert await second.until("status")


async def test_the_server_stops_at_once_although_somebody_watches() -> None:
    async with serving(FakeDaemon()) as surface:
        viewer = await surface.view()
        await viewer.until("status")
        async with asyncio.timeout(4):
            await surface.stop()
        with pytest.raises((EOFError, asyncio.IncompleteReadError)):
            await viewer.until("none")


async def test_after_the_end_there_are_no_events() -> None:
    events = StatusStream(FakeDaemon())
    await events.close()
    answer = await ask(create_app(FakeDaemon(), events=events), "GET", "/events")
    assert (answer.status, answer.headers["retry-after"]) == (503, "10")


async def test_a_failure_of_one_look_is_not_the_end() -> None:
    daemon = FakeDaemon()

    async with serving(daemon) as surface:
        viewer = await surface.view()
        await viewer.until("status")
        state, daemon.state = daemon.state, {"unsortable": {1: object}}
        daemon.status = None  # type: ignore[assignment, method-assign]  # calling it fails
        await asyncio.sleep(0.1)
        del daemon.status
        daemon.state = {**state, "pending": 5}
        assert (await viewer.until("status"))["status"]["pending"] == 5


async def test_they_are_as_described() -> None:
    answers = yaml.safe_load(openapi_description())["paths"]["/events"]["get"]["responses"]
    example = answers["200"]["content"]["text/event-stream"]["example"]
    names = [line.removeprefix("event: ") for line in example.splitlines() if line.startswith("event: ")]
    async with serving(FakeDaemon(), heartbeat=0.05) as surface:
        viewer = await surface.view()
        assert [(await viewer.next()).name for _ in names] == names
