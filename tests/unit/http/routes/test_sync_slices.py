"""Large requests, many at once, on a real server: no round of the loop has more than a slice of their work."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from cdc_daemon.config import HttpSettings
from cdc_daemon.model.slices import SLICE
from cdc_daemon.sources.requests.ids import IdParser, RequestedId
from cdc_daemon.sources.requests.outcome import KeyResult
from cdc_http import HttpServer, create_app
from tests.unit.http.asking import ask, ask_json, rows
from tests.unit.http.fake import FakeDaemon, running
from tests.unit.model.rounds import Rounds

pytestmark = pytest.mark.slow

IDS = 5000
REQUESTS = 20
NAMES = [f"user-{number}" for number in range(IDS)]


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Rounds]:
    """Give what counts the ids that are read, asked for, and told in answers."""
    current: list[Rounds] = []

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            if current:
                current[0].count()
            return real(*arguments)

        return call

    monkeypatch.setattr(IdParser, "parse_one", counted(IdParser.parse_one))
    monkeypatch.setattr(RequestedId, "signal", property(counted(vars(RequestedId)["signal"].fget)))
    monkeypatch.setattr(KeyResult, "failures", property(counted(vars(KeyResult)["failures"].fget)))

    def start() -> Rounds:
        current.append(Rounds())
        return current[0]

    return start


@asynccontextmanager
async def serving(daemon: FakeDaemon) -> AsyncIterator[int]:
    server = HttpServer(create_app(daemon, HttpSettings(contract="lenient")), host="127.0.0.1", port=0)
    await server.start()
    try:
        yield server.port
    finally:
        await server.stop()


async def post(port: int, body: bytes, content_type: str = "application/json") -> Any:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST /sync HTTP/1.1\r\nHost: t\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
    writer.write(head.encode() + b"Connection: close\r\n\r\n" + body)
    head_of_answer, _, content = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert head_of_answer.split()[1] in {b"200", b"202"}, head_of_answer
    return json.loads(content)["result"]


def asking(**more: str) -> bytes:
    return json.dumps({"request": {"objectType": "user", "objectIds": NAMES, **more}}).encode()


async def test_twenty_requests_of_five_thousand_ids(rounds: Callable[[], Rounds]) -> None:
    async with asyncio.timeout(120), serving(FakeDaemon()) as port:
        with rounds() as counted:
            results = await asyncio.gather(*(post(port, asking()) for _ in range(REQUESTS)))
        assert [len(result["esSyncResponse"]) for result in results] == [IDS] * REQUESTS
        assert 0 < counted.most <= SLICE


async def test_requests_that_are_answered_before_they_are_done(rounds: Callable[[], Rounds], tmp_path: Path) -> None:
    async with asyncio.timeout(120), running(tmp_path) as daemon, serving(daemon) as port:
        with rounds() as counted:
            results = await asyncio.gather(*(post(port, asking(operationType="async")) for _ in range(3)))
        assert [result["total"] for result in results] == [IDS] * 3
        assert 0 < counted.most <= SLICE


@pytest.mark.parametrize("kind", ["urlencoded", "multipart"])
async def test_forms(rounds: Callable[[], Rounds], kind: str) -> None:
    fields = [("request[objectType]", "user"), *(("request[objectIds][]", name) for name in NAMES)]
    if kind == "urlencoded":
        body, content_type = urlencode(fields).encode(), "application/x-www-form-urlencoded"
    else:
        parts = [f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields]
        body, content_type = "".join([*parts, "--x--\r\n"]).encode(), "multipart/form-data; boundary=x"
    async with asyncio.timeout(120), serving(FakeDaemon()) as port:
        with rounds() as counted:
            results = await asyncio.gather(*(post(port, body, content_type) for _ in range(3)))
        assert [len(result["esSyncResponse"]) for result in results] == [IDS] * 3
        assert 0 < counted.most <= SLICE


async def test_a_multipart_form_is_taken_apart_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parser is slow: a megabyte takes it a tenth of a second."""
    from python_multipart.multipart import MultipartParser  # noqa: PLC0415 -- only its `write` is watched

    real = MultipartParser.write
    value = "x" * 300_000
    texts = {"request": {"objectType": "user", "objectIds": ["u"]}, "params": {"a": value}}
    parts = (
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{json.dumps(text)}\r\n'
        for name, text in texts.items()
    )
    body = "".join([*parts, "--x--\r\n"]).encode()
    async with asyncio.timeout(60), serving(FakeDaemon()) as port:
        with Rounds() as counted:

            def write(parser: MultipartParser, data: bytes) -> int:
                counted.count(len(data))
                return real(parser, data)

            monkeypatch.setattr(MultipartParser, "write", write)
            await asyncio.gather(*(post(port, body, "multipart/form-data; boundary=x") for _ in range(5)))
        assert 0 < counted.most <= 8 * 1024


@pytest.mark.parametrize("what", [b"[]", b"{}", b"1", b'{"a":1}'])
async def test_json_of_very_many_values_is_not_parsed(what: bytes) -> None:
    """Nothing else is done while it is parsed, and a million empty lists take a tenth of a second and more."""
    app = create_app(FakeDaemon(), HttpSettings(contract="lenient", max_ids=100))
    headers = {"Content-Type": "application/json"}
    for count, refused in ((800, False), (20_000, True)):
        body = b'{"request":{"objectType":"user","objectIds":["u"],"more":[%b]}}' % b",".join([what] * count)
        answer = await ask(app, "POST", "/sync", headers=headers, body=body)
        if refused:
            assert answer.error[:2] == (400, "UOS_0028")
            assert "900 values" in answer.error[2]
        else:
            assert answer.status == 200


async def test_as_many_ids_as_may_be_are_not_too_many_values() -> None:
    app = create_app(FakeDaemon(), HttpSettings(contract="lenient", max_ids=2000))
    ids = [{"userid": f"user, {number}", "courseid": "c", "batchid": "b"} for number in range(2000)]
    answer = await ask_json(app, rows("user_course", *ids), headers={"Content-Type": "application/json"})
    assert answer.status == 200
