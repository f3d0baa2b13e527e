"""Bodies as clients really send them: compressed, with a byte-order mark, and made to do harm."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator

import pytest

from cdc_daemon.config import HttpSettings
from cdc_http import HttpServer, create_app
from tests.unit.http.asking import rows
from tests.unit.http.fake import FakeDaemon
from tests.unit.http.serving import ended

BODY = json.dumps(rows("user", "u1", "u2")).encode()
FORM = b"request[objectType]=user&request[objectIds][]=u1&request[objectIds][]=u2"
BOM = b"\xef\xbb\xbf"
LIMIT = 100_000


class Caller:
    """Sends bodies to a real server."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def post(self, body: bytes, *, coding: str | None = None, content_type: str = "application/json") -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        head = [
            "POST /sync HTTP/1.1",
            "Host: t",
            f"Content-Type: {content_type}",
            f"Content-Length: {len(body)}",
            "Connection: close",
            *([] if coding is None else [f"Content-Encoding: {coding}"]),
        ]
        writer.write("\r\n".join([*head, "", ""]).encode() + body)
        async with asyncio.timeout(30):
            answer = await ended(reader)
        writer.close()
        return answer

    async def settled(self, body: bytes, *, coding: str | None = None, content_type: str = "application/json") -> None:
        """Expect two ids to be settled."""
        answer = await self.post(body, coding=coding, content_type=content_type)
        assert answer.startswith(b"HTTP/1.1 200 "), answer
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["result"]["esSyncResponse"] == {"u1": True, "u2": True}

    async def status(self, body: bytes, coding: str) -> int:
        return int((await self.post(body, coding=coding)).split()[1])


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    app = create_app(FakeDaemon(), HttpSettings(contract="lenient", max_body=LIMIT))
    server = HttpServer(app, host="127.0.0.1", port=0)
    await server.start()
    yield Caller(server.port)
    await server.stop()


@pytest.mark.parametrize("coding", [None, "", "identity", "gzip", "GZIP", "x-gzip"])
async def test_the_codings_that_are_taken(caller: Caller, coding: str | None) -> None:
    await caller.settled(gzip.compress(BODY, mtime=0) if "gzip" in (coding or "").lower() else BODY, coding=coding)


async def test_a_compressed_form(caller: Caller) -> None:
    await caller.settled(gzip.compress(FORM, mtime=0), coding="gzip", content_type="application/x-www-form-urlencoded")


@pytest.mark.parametrize("coding", ["deflate", "br", "zstd", "gzip, gzip", "gzip, identity", "identity, br"])
async def test_other_codings_are_refused_and_the_one_that_is_taken_is_named(caller: Caller, coding: str) -> None:
    answer = await caller.post(zlib.compress(BODY), coding=coding)
    assert answer.startswith(b"HTTP/1.1 415 ")
    assert b"accept-encoding: gzip\r\n" in answer.lower()
    assert b"Content-Encoding" in answer


async def test_a_body_is_bounded_as_it_is_when_decompressed(caller: Caller) -> None:
    assert await caller.status(gzip.compress(BODY + b" " * (LIMIT - len(BODY))), "gzip") == 200
    assert await caller.status(gzip.compress(BODY + b" " * (LIMIT + 1 - len(BODY))), "gzip") == 413


async def test_a_bomb_takes_no_more_memory_than_a_body_may(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    class Watched:
        def __init__(self, wbits: int) -> None:
            self._real = zlib.decompressobj(wbits)

        def decompress(self, data: bytes, most: int) -> bytes:
            made.append(most)
            return self._real.decompress(data, most)

    monkeypatch.setattr("cdc_http.limits.body.decompressor", Watched)
    bomb = gzip.compress(bytes(50 * 1024 * 1024))
    assert len(bomb) < LIMIT
    assert await caller.status(bomb, "gzip") == 413
    assert made == [LIMIT + 1]


@pytest.mark.parametrize(
    "body",
    [
        BODY,
        b"",
        gzip.compress(BODY, mtime=0)[:-5],
        gzip.compress(BODY, mtime=0)[:-4] + b"\0\0\0\0",
        gzip.compress(BODY, mtime=0) + b"more",
        gzip.compress(BODY, mtime=0) * 2,
        zlib.compress(BODY),
    ],
)
async def test_what_is_no_gzip_is_refused(caller: Caller, body: bytes) -> None:
    answer = await caller.post(body, coding="gzip")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"UOS_0028" in answer


async def test_a_byte_order_mark_is_passed_over(caller: Caller) -> None:
    await caller.settled(BOM + BODY)
    await caller.settled(gzip.compress(BOM + BODY, mtime=0), coding="gzip")
    form = "application/x-www-form-urlencoded"
    await caller.settled(BOM + FORM, content_type=form)
    request = b'{"objectType": "user", "objectIds": ["u1", "u2"]}'
    await caller.settled(b"request=" + BOM + request, content_type=form)
    part = b'--limit\r\nContent-Disposition: form-data; name="request"\r\n\r\n' + BOM + request + b"\r\n--limit--\r\n"
    await caller.settled(part, content_type="multipart/form-data; boundary=limit")


async def test_one_mark_only_is_passed_over(caller: Caller) -> None:
    assert await caller.status(BOM + BOM + BODY, "identity") == 400
