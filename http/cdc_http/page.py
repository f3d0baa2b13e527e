"""The status page, its static files, and the runbook."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cdc_http.runbook import runbook_page

_FOLDER = Path(__file__).parent / "static"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",
}
HEADERS = {
    "content-security-policy": "; ".join(f"{name} {value}" for name, value in _POLICY.items()),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    # Cached, but revalidated each time: a new version of the daemon shows its own page.
    "cache-control": "no-cache",
}


class _File(NamedTuple):
    content: bytes
    headers: dict[str, str]


def page_routes() -> list[Route]:
    """Return the routes of the page, of the files it loads, and of the runbook. The page's files are read now."""
    files = dict(_read())

    async def index(request: Request) -> Response:
        return _answer(request, files["index.html"])

    async def static(request: Request) -> Response:
        file = files.get(request.path_params["file"])
        if file is None:
            raise HTTPException(404)
        return _answer(request, file)

    async def runbook(request: Request) -> Response:
        return _answer(request, _file(runbook_page(), ".html"))

    return [Route("/", index), Route("/runbook", runbook), Route("/static/{file}", static)]


def _read() -> Iterator[tuple[str, _File]]:
    for path in _FOLDER.iterdir():
        yield path.name, _file(path.read_bytes(), path.suffix)


def _file(content: bytes, suffix: str) -> _File:
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    return _File(content, {**HEADERS, "content-type": _TYPES[suffix], "etag": tag})


def _answer(request: Request, file: _File) -> Response:
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if file.headers["etag"] in known:
        return Response(status_code=304, headers=file.headers)
    return Response(file.content, headers=file.headers)
