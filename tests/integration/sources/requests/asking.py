"""Requests for rows to a running daemon, and documents as somebody else may leave them."""

from __future__ import annotations

import hashlib
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, NamedTuple

from tests.integration.daemon.stage import Stage

TOKEN = "a-token-for-tests-6f1f3c0e9d"
"""What the daemon's configuration knows by its hash."""


def with_token(settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the `http` section of a daemon that knows the token and takes what live callers send."""
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    token = {"name": "tests", "hash": f"sha256:{digest}", "scopes": ["sync", "admin"]}
    return {"port": 0, "contract": "lenient", "auth": {"tokens": [token]}, **(settings or {})}


class Answer(NamedTuple):
    """An answer's status, headers and JSON."""

    status: int
    headers: Mapping[str, str]
    content: Any

    @property
    def result(self) -> Any:
        return self.content["result"]


def send(
    stage: Stage, method: str, path: str, content: Any = None, *, token: str | None = TOKEN, seconds: float = 60.0
) -> Answer:
    """Send a request to the stage's daemon."""
    port = stage.daemon.wait_event("http.listening")["port"]
    headers = {"Content-Type": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    body = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            return Answer(answer.status, dict(answer.headers), json.loads(answer.read()))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, dict(error.headers), json.loads(error.read()))


def sync(stage: Stage, object_type: str, *ids: Any, query: str = "", seconds: float = 60.0, **more: Any) -> Answer:
    """Ask for rows."""
    inner = {"objectType": object_type, "objectIds": list(ids), **more}
    return send(stage, "POST", f"/api/data/v1/index/sync{query}", {"params": {}, "request": inner}, seconds=seconds)


def version_of(stage: Stage, table: str, identity: str) -> int:
    """Return a document's version."""
    return int(stage.elastic.get(index=stage.alias(table), id=identity)["_version"])


def spoil(stage: Stage, table: str, identity: str, source: Mapping[str, Any], *, version: int) -> None:
    """Write a document as somebody else, at a version of their choice."""
    stage.elastic.index(
        index=stage.alias(table), id=identity, document=source, version=version, version_type="external_gte"
    )
