"""The status page with its files, the runbook, and the OpenAPI description."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_PACKAGE = Path(__file__).parents[1]
_CHECKOUT = _PACKAGE.parents[1]
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
    """Return the routes of the pages. The status page's files are read now."""
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

    async def openapi(_request: Request) -> Response:
        return Response(openapi_description(), media_type="application/yaml")

    return [
        Route("/", index),
        Route("/static/{file}", static),
        Route("/runbook", runbook),
        Route("/openapi.yaml", openapi),
    ]


def _read() -> Iterator[tuple[str, _File]]:
    for path in (_PACKAGE / "static").iterdir():
        yield path.name, _file(path.read_bytes(), path.suffix)


def _file(content: bytes, suffix: str) -> _File:
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    return _File(content, {**HEADERS, "content-type": _TYPES[suffix], "etag": tag})


def _answer(request: Request, file: _File) -> Response:
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if file.headers["etag"] in known:
        return Response(status_code=304, headers=file.headers)
    return Response(file.content, headers=file.headers)


_HEAD = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="light dark">
  <title>Runbook · cdc-daemon</title>
  <link rel="icon" href="static/icon.svg" type="image/svg+xml">
  <link rel="stylesheet" href="static/page.css">
</head>
<body class="runbook">
<main>
<p><a href="./">Status page</a></p>
"""
_FOOT = "</main>\n</body>\n</html>\n"


@cache
def runbook_page() -> bytes:
    """Return the runbook as HTML; each heading has the anchor that GitHub gives it.

    The text is inside the package when installed, in `docs` in a checkout.
    """
    file = _PACKAGE / "runbook.md"
    text = (file if file.exists() else _CHECKOUT / "docs" / "runbook.md").read_text(encoding="utf-8")
    # "js-default" disables raw HTML: only Markdown in the text becomes markup.
    markdown = MarkdownIt("js-default", {"linkify": False})
    tokens = markdown.parse(text)
    _add_anchors(tokens)
    for token in tokens:
        if token.children is not None:
            token.children = _without_links_to_files(token.children)
    body: str = markdown.renderer.render(tokens, markdown.options, {})
    return (_HEAD + body + _FOOT).encode()


def anchor_of(heading: str) -> str:
    """Return the anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _add_anchors(tokens: Sequence[Token]) -> None:
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            opening.attrSet("id", anchor_of(inline.content))
            opening.attrSet("tabindex", "-1")


def _without_links_to_files(tokens: Sequence[Token]) -> list[Token]:
    """Return inline tokens with links to other files of the repository, which are not served, as plain text."""
    kept, inside = [], False
    for token in tokens:
        if token.type == "link_open" and not str(token.attrGet("href")).startswith(("#", "https:")):
            inside = True
        elif token.type == "link_close" and inside:
            inside = False
        else:
            kept.append(token)
    return kept


@cache
def openapi_description() -> bytes:
    """Return `openapi.yaml`: beside this package in a checkout, inside it when installed."""
    file = _PACKAGE / "openapi.yaml"
    return (file if file.exists() else _CHECKOUT / "http" / "openapi.yaml").read_bytes()
