"""The parts run one after the other: with a new configuration, or again with the previous one if it cannot be used."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from cdc_daemon.app.generations import Generations, SupersededError
from cdc_daemon.model.errors import ConfigError, StoreError
from cdc_daemon.pipeline.gate import Gate, Pause


class Config(str):
    """A configuration, with the name of the search engine's host after a colon. It stands for a context too."""

    __slots__ = ()

    waits: ClassVar[list[str | None]] = []

    def report_wait(self, what: str, error: str | None) -> None:
        assert what == "state directory"
        self.waits.append(error)

    @property
    def elasticsearch(self) -> str:
        return self.partition(":")[2]


class Parts:
    """Run until they are drained. `available` is set while the search engine takes writes."""

    def __init__(self, settings: Any) -> None:
        self.settings = settings
        self.available = asyncio.Event()
        self.available.set()
        self.search: Any = SimpleNamespace(writer=SimpleNamespace(wait_available=self.available.wait))
        self.tables = SimpleNamespace(shown=())
        self.pipeline: Any = SimpleNamespace(gate=Gate(None))  # type: ignore[arg-type]
        self.drained = asyncio.Event()

    async def run(self) -> bool:
        await self.drained.wait()
        return False

    async def drain(self, _seconds: float) -> None:
        self.drained.set()


class Composing:
    """Composes parts: `wrong` settings are refused, `waiting` ones wait for a server until cancelled.

    The next `full` attempts find a full disk.
    """

    def __init__(self, *, wrong: tuple[str, ...] = (), waiting: tuple[str, ...] = ()) -> None:
        self.full = 0
        self.wrong = wrong
        self.waiting = waiting
        self.composed: list[Any] = []

    @asynccontextmanager
    async def compose(self, settings: Any) -> AsyncIterator[Parts]:
        self.composed.append(settings)
        if self.full:
            self.full -= 1
            raise StoreError("SQLite says: database or disk is full")
        if settings in self.wrong:
            raise ConfigError(f"{settings} does not fit")
        if settings in self.waiting:
            await asyncio.Event().wait()
        yield Parts(settings)


@pytest.fixture
def composing(monkeypatch: pytest.MonkeyPatch) -> Composing:
    composing = Composing(wrong=("wrong",), waiting=("waiting",))
    monkeypatch.setattr("cdc_daemon.app.generations.compose", composing.compose)
    return composing


def generations(first: Any) -> Generations:
    identity: Callable[[Any], Any] = lambda settings: settings  # noqa: E731 -- stands for a context
    return Generations(Config(first), identity)  # type: ignore[arg-type]


def settings_of(running: Generations) -> Any:
    return running.settings


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 -- nobody sets an event for a test
            await asyncio.sleep(0.01)


async def end(running: Generations, task: asyncio.Task[None]) -> None:
    """End as a stop does."""
    running.stopping = True
    assert running.composition is not None
    await running.composition.drain(1)
    async with asyncio.timeout(60):
        await task


async def test_other_settings_replace_the_parts_and_keep_the_pause(composing: Composing) -> None:
    running = generations("first")
    task = asyncio.create_task(running.run())
    await until(lambda: running.composition)
    first: Any = running.composition
    first.pipeline.gate.close(Pause("anna", 1.0))
    await running.replace(Config("second"))  # type: ignore[arg-type]
    second: Any = running.composition
    assert first.drained.is_set()
    assert settings_of(running) == second.settings == "second"
    assert second.pipeline.gate.pause == Pause("anna", 1.0)
    await end(running, task)
    assert composing.composed == ["first", "second"]


async def test_settings_that_do_not_fit_leave_the_previous_ones(composing: Composing) -> None:
    running = generations("first")
    task = asyncio.create_task(running.run())
    await until(lambda: running.composition)
    with pytest.raises(ConfigError, match="wrong does not fit"):
        await running.replace(Config("wrong"))  # type: ignore[arg-type]
    await until(lambda: running.composition)
    assert settings_of(running) == "first"
    await end(running, task)
    assert composing.composed == ["first", "wrong", "first"]


async def test_the_first_settings_that_do_not_fit_end_the_start(composing: Composing) -> None:
    with pytest.raises(ConfigError):
        await generations("wrong").run()
    assert composing.composed == ["wrong"]


async def test_a_start_waits_while_the_disk_of_the_state_is_full(composing: Composing) -> None:
    composing.full = 2
    Config.waits.clear()
    running = generations("first")
    task = asyncio.create_task(running.run())
    await until(lambda: running.composition)
    assert Config.waits == ["SQLite says: database or disk is full"] * 2 + [None]
    composing.full = 1
    await running.replace(Config("second"))  # type: ignore[arg-type]
    await end(running, task)
    assert composing.composed == ["first"] * 3 + ["second"] * 2


async def test_a_start_that_waits_for_a_server_takes_other_settings(composing: Composing) -> None:
    running = generations("waiting")
    task = asyncio.create_task(running.run())
    await until(lambda: composing.composed)
    await running.replace(Config("second"))  # type: ignore[arg-type]
    await end(running, task)
    assert composing.composed == ["waiting", "second"]


async def test_settings_that_wait_for_a_server_are_superseded(composing: Composing) -> None:
    running = generations("first")
    task = asyncio.create_task(running.run())
    await until(lambda: running.composition)
    waiting = asyncio.create_task(running.replace(Config("waiting")))  # type: ignore[arg-type]
    await until(lambda: "waiting" in composing.composed)
    assert running.composition is None
    await running.replace(Config("third"))  # type: ignore[arg-type]
    with pytest.raises(SupersededError):
        await waiting
    await end(running, task)
    assert composing.composed == ["first", "waiting", "third"]


async def test_a_stop_while_new_parts_wait_for_a_server(composing: Composing) -> None:
    running = generations("first")
    task = asyncio.create_task(running.run())
    await until(lambda: running.composition)
    waiting = asyncio.create_task(running.replace(Config("waiting")))  # type: ignore[arg-type]
    await until(lambda: "waiting" in composing.composed)
    task.cancel()
    async with asyncio.timeout(60):
        await asyncio.gather(task, return_exceptions=True)
    waiting.cancel()
    assert task.cancelled()


async def test_while_the_search_engine_is_down_the_previous_parts_go_on_spooling(composing: Composing) -> None:
    running = generations("first:h")
    task = asyncio.create_task(running.run())
    await until(lambda: running.composition)
    first: Any = running.composition
    first.available.clear()
    waiting = asyncio.create_task(running.replace(Config("second:h")))  # type: ignore[arg-type]
    await asyncio.sleep(0.05)
    assert settings_of(running) == "first:h"
    assert not first.drained.is_set()
    first.available.set()
    async with asyncio.timeout(60):
        await waiting
    second: Any = running.composition
    second.available.clear()
    # Another host may be what ends the outage, so that configuration does not wait, and the one before it is dropped.
    pending = asyncio.create_task(running.replace(Config("third:h")))  # type: ignore[arg-type]
    await asyncio.sleep(0)  # it begins
    await running.replace(Config("fourth:other"))  # type: ignore[arg-type]
    with pytest.raises(SupersededError):
        await pending
    await end(running, task)
    assert composing.composed == ["first:h", "second:h", "fourth:other"]
