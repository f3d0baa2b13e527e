"""What is waited for at the start is told at once, and not at every try."""

from __future__ import annotations

import asyncio
import io
import json

import pytest

from cdc_daemon.app.startup import persist
from cdc_daemon.config import LogSettings
from cdc_daemon.model.errors import CassandraUnavailableError
from cdc_daemon.telemetry import logs


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    async def pass_by(_seconds: float) -> None:
        pass

    monkeypatch.setattr(asyncio, "sleep", pass_by)


async def test_the_same_is_told_once_and_another_at_once() -> None:
    stream = io.StringIO()
    logs.configure(LogSettings(format="json"), stream=stream)
    failures = [
        *(CassandraUnavailableError("no host answers", hint="start it") for _ in range(5)),
        CassandraUnavailableError("it is starting", hint="wait", table="shop.user"),
    ]
    waited: list[str | None] = []

    async def attempt() -> str:
        if failures:
            raise failures.pop(0)
        return "there"

    found = await persist("cassandra", attempt, report_wait=lambda _what, error: waited.append(error))
    assert found == "there"
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(event["event"], event["error"], event["hint"]) for event in events] == [
        ("startup.waiting", "no host answers", "start it"),
        ("startup.waiting", "it is starting", "wait"),
    ]
    assert waited == ["no host answers (start it)"] * 5 + ["table shop.user: it is starting (wait)", None]
