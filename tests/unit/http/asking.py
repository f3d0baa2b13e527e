"""Requests to the application as a server would make them, without one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from typing import Any

from starlette.types import ASGIApp, Message

DOCUMENTED = {
    "Content-Type": "application/json",
    "ts": "2023-09-20 12:02:24:452+0000",
    "X-msgid": "c76f0a7e",
    "X-Device-ID": "resync-job",
    "Authorization": "Bearer abc",
}


class Answer:
    """A whole answer."""

    def __init__(self, messages: list[Message]) -> None:
        self.status: int = messages[0]["status"]
        self.headers = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
        self.body = b"".join(message.get("body", b"") for message in messages[1:])

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def result(self) -> Any:
        return self.json()["result"]

    @property
    def error(self) -> tuple[int, str, str]:
        """Status, code and message of an enveloped error, whose other keys are checked."""
        answer = self.json()
        assert list(answer) == ["id", "ver", "ts", "params", "responseCode", "result"]
        assert answer["params"]["status"] == "FAILED"
        return self.status, answer["params"]["err"], answer["params"]["errmsg"]


async def ask(
    app: ASGIApp,
    method: str,
    path: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | Iterable[bytes] = b"",
) -> Answer:
    """Send a request, its body perhaps in pieces, and return the answer."""
    pieces = [body] if isinstance(body, bytes) else list(body)
    incoming: list[Message] = [
        {"type": "http.request", "body": piece, "more_body": at + 1 < len(pieces)} for at, piece in enumerate(pieces)
    ]
    messages: list[Message] = []

    async def receive() -> Message:
        return incoming.pop(0) if incoming else await _stay()

    async def send(message: Message) -> None:
        messages.append(message)

    plain, _, query = path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": plain,
        "raw_path": plain.encode(),
        "root_path": "",
        "scheme": "http",
        "query_string": query.encode(),
        "headers": [
            (b"host", b"test"),
            *((name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()),
        ],
    }
    await app(scope, receive, send)
    return Answer(messages)


async def _stay() -> Message:
    """Keep the connection open, as callers do who wait for an answer."""
    await asyncio.Event().wait()
    return {"type": "http.disconnect"}


async def ask_json(
    app: ASGIApp, content: Any, *, path: str = "/sync", headers: Mapping[str, str] | None = None
) -> Answer:
    """POST a JSON body with the documented headers, or with these."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return await ask(app, "POST", path, headers=DOCUMENTED if headers is None else headers, body=body)


def rows(object_type: str, *ids: Any, **more: Any) -> dict[str, Any]:
    """Return the body that asks for ids."""
    return {"params": {}, "request": {"objectType": object_type, "objectIds": list(ids), **more}}
