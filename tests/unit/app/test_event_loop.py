"""The daemon runs on uvloop where it is installed, and on asyncio's own event loop otherwise."""

from __future__ import annotations

import asyncio
import importlib.util
from importlib.machinery import ModuleSpec

import pytest

from cdc_daemon.app import event_loop


async def module_of_the_loop() -> str:
    return type(asyncio.get_running_loop()).__module__


async def code() -> int:
    return 3


def test_it_is_uvloop_where_that_is_installed() -> None:
    installed = importlib.util.find_spec("uvloop") is not None
    assert event_loop.describe().split()[0] == ("uvloop" if installed else "asyncio")
    work: object = event_loop.run(module_of_the_loop())  # type: ignore[arg-type]
    assert str(work).startswith("uvloop" if installed else "asyncio")


def test_it_is_asyncio_without_uvloop(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "uvloop" else found(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    assert event_loop.describe() == "asyncio"
    assert event_loop.run(code()) == 3
