"""A real browser before a real daemon."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cassandra.cluster import Session
from playwright.sync_api import Browser, Page
from typer.testing import CliRunner

from cdc_daemon.cli.main import app
from sandbox import Sandbox
from sandbox.browser import chromium
from sandbox.ports import PortReservation
from sandbox.search_client import make_search_client
from tests.browser.relay import Relay
from tests.integration.daemon.stage import Stage, new_stage

TOKEN = "operator-of-the-tests"
TALL = {"dynamic": "strict", "properties": {"id": {"type": "integer"}, "height": {"type": "integer"}}}
WAIT = 120_000.0
"""Milliseconds that a page may take to show something."""

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="module")
def relay(box: Sandbox) -> Iterator[Relay]:
    """The daemon's way to Elasticsearch."""
    url = urlsplit(box.elasticsearch.url)
    assert url.hostname is not None
    assert url.port is not None
    with Relay(url.hostname, url.port) as relay:
        yield relay


@pytest.fixture(scope="module")
def stage(box: Sandbox, cql: Session, relay: Relay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Three tables and a daemon with an operator, for all tests of a module."""
    ports = PortReservation()
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    token = {"name": "operator", "hash": f"sha256:{digest}", "scopes": ["admin", "sync"]}
    with (
        make_search_client(box.elasticsearch.url, max_retries=3, retry_on_timeout=True) as elastic,
        new_stage(box, cql, elastic, tmp_path_factory.mktemp("daemon")) as stage,
    ):
        stage.table("person", "id int PRIMARY KEY, name text")
        for name in ("tree", "bush"):
            stage.table(name, "id int PRIMARY KEY, height text", mappings=TALL)
        stage.daemon.config["elasticsearch"]["hosts"] = [f"http://127.0.0.1:{relay.port}"]
        stage.daemon.config["http"] = {"port": ports.reserve(), "contract": "lenient", "auth": {"tokens": [token]}}
        stage.daemon.run()
        stage.settle(seconds=180)
        # The log holds what other tests wrote before, also to tables of which nobody knows any more.
        dropped = CliRunner().invoke(app, ["dead-letters", "drop", "--all", "--config", str(stage.daemon.config_path)])
        assert dropped.exit_code == 0, dropped.output
        yield stage
    ports.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser, of this module: while it runs, its library keeps an event loop running in this thread."""
    with chromium() as browser:
        yield browser


Show = Callable[..., Page]


@pytest.fixture
def show_at(browser: Browser) -> Iterator[Show]:
    """Opens the status page at a URL in a context of its own, and sees to it that it has no errors."""
    contexts = []
    problems: list[str] = []

    def show(url: str, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        context.set_default_timeout(WAIT)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda said: problems.append(said.text) if _is_ours(said.text) else None)
        page.goto(url)
        page.locator("#connection[data-state=live]").wait_for()
        return page

    yield show
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture
def show(stage: Stage, show_at: Show) -> Show:
    """Opens the status page of the daemon on the stage."""
    return partial(show_at, f"http://127.0.0.1:{stage.daemon.config['http']['port']}/")


def _is_ours(text: str) -> bool:
    """Whether the browser complains of the page, not of an answer that a test provoked."""
    return "Failed to load resource" not in text and "net::ERR" not in text
