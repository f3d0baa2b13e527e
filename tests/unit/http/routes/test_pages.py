"""The status page's files: what is served, under which rules, and what it may not contain."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from starlette.types import ASGIApp

import cdc_http
from cdc_http import create_app
from tests.unit.http.asking import ask
from tests.unit.http.fake import FakeDaemon

FOLDER = Path(cdc_http.__file__).parent / "static"
FILES = sorted(FOLDER.iterdir())


@pytest.fixture
def app() -> ASGIApp:
    return create_app(FakeDaemon())


async def test_the_page(app: ASGIApp) -> None:
    answer = await ask(app, "GET", "/")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.body == (FOLDER / "index.html").read_bytes()


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
async def test_each_file_comes_with_strict_rules(app: ASGIApp, file: Path) -> None:
    answer = await ask(app, "GET", f"/static/{file.name}")
    assert (answer.status, answer.body) == (200, file.read_bytes())  # noqa: ASYNC240 -- a small file
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-cache"
    policy = dict(rule.split(" ", 1) for rule in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert {policy[name] for name in ("script-src", "style-src", "connect-src", "img-src")} == {"'self'"}
    again = await ask(app, "GET", f"/static/{file.name}", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize("path", ["/static/", "/static/..%2fpage.py", "/static/../page.py", "/static/page.py"])
async def test_nothing_else_is_served(app: ASGIApp, path: str) -> None:
    assert (await ask(app, "GET", path)).status == 404


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_nothing_comes_from_elsewhere_and_nothing_is_inline(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert [url for url in re.findall(r"(?:https?:)?//[\w.-]+\.\w+", text) if "www.w3.org" not in url] == []
    if file.suffix == ".html":
        assert re.findall(r"\sstyle=|\son\w+=|<style|<script(?![^>]*\ssrc=)", text) == []
    if file.suffix == ".js":
        assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text) == []


def test_what_it_loads_is_there() -> None:
    text = (FOLDER / "index.html").read_text(encoding="utf-8")
    loaded = {*re.findall(r'(?:src|href)="static/([^"]+)"', text)}
    scripts = {
        name for file in FILES if file.suffix == ".js" for name in re.findall(r'from "\./([^"]+)"', file.read_text())
    }
    assert loaded | scripts == {file.name for file in FILES} - {"index.html"}


async def test_the_runbook_is_a_page_of_the_daemon_s_own(app: ASGIApp) -> None:
    answer = await ask(app, "GET", "/runbook")
    text = answer.body.decode()
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "unsafe" not in answer.headers["content-security-policy"]
    anchors = {*re.findall(r'id="([^"]+)"', text)}
    assert {"cdcelasticsearchunavailable", "cdcdeadlettersgrowing", "the-state-directory-was-lost"} <= anchors
    assert "<table>" in text
    links = re.findall(r'<a href="([^"]*)"', text)
    assert [link for link in links if link.startswith("#") and link[1:] not in anchors] == []
    assert [link for link in links if not link.startswith(("#", "https:", "./"))] == [], "files are not served"
    again = await ask(app, "GET", "/runbook", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
