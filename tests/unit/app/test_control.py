"""What an operator sees of the configuration."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from cdc_daemon.app.control import Control
from cdc_daemon.app.generations import Generations
from cdc_daemon.config import Settings
from cdc_daemon.pipeline.gate import Gate, Pause
from cdc_daemon.sources.dead_letters.replay import Replayer
from cdc_daemon.store import Store
from cdc_daemon.store.dead_letter_filter import DeadLetterFilter
from cdc_daemon.store.dead_letters import DeadLetter
from cdc_daemon.store.sync_jobs import SyncJob


class _Sink:
    async def submit(self, signals: object, receipt: object) -> None:  # noqa: ARG002 -- nothing comes
        raise AssertionError


def settings(directory: Path) -> Settings:
    return Settings.model_validate(
        {
            "cassandra": {"username": "cdc", "password": "hidden-1"},
            "commit_log": {"cdc_raw_directory": str(directory)},
            "elasticsearch": {"hosts": ["https://localhost:9200"], "api_key": "hidden-2"},
            "state": {"directory": str(directory)},
            "mappings": {"user": {"table": "k.user", "alias": "users"}},
        }
    )


async def test_the_configuration_has_no_secrets_and_jobs_are_listed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    try:
        nothing: Any = None  # nothing is replayed here
        replayer = Replayer(nothing, store.dead_letters, schema=nothing, shown=(), reconcile=nothing)
        control = Control(Gate(_Sink()), store, replayer, settings(tmp_path))
        text = orjson.dumps(control.configuration()).decode()
        assert "hidden" not in text
        assert "https://localhost:9200" in text
        assert store.sync_jobs.count_open() == (0, 0)
        for number in range(3):
            store.sync_jobs.add(SyncJob(id=str(number), kind="sync", object_type="user"), ["a"], part=10, limit=10)
        store.sync_jobs.finish("1")
        assert store.sync_jobs.count_open() == (2, max(job.created for job in store.sync_jobs.newest()))
        assert {job.id for job in await control.sync_jobs(10)} == {"0", "1", "2"}
        assert len(await control.sync_jobs(2)) == 2
    finally:
        store.close()


async def test_the_first_pause_counts_until_somebody_resumes(tmp_path: Path) -> None:
    store = Store(tmp_path)
    try:
        nothing: Any = None
        gate = Gate(_Sink())
        control = Control(gate, store, nothing, settings(tmp_path))
        first = control.pause("anna")
        assert first.by == "anna"
        assert abs(first.since - time.time()) < 60
        assert control.pause("ben") == first
        control.resume("ben")
        assert not gate.closed
        assert control.pause("ben").by == "ben"
    finally:
        store.close()


async def test_letters_are_counted_and_dropped_by_a_filter(tmp_path: Path) -> None:
    store = Store(tmp_path)
    try:
        nothing: Any = None
        control = Control(Gate(_Sink()), store, nothing, settings(tmp_path))
        store.dead_letters.add(
            [
                DeadLetter(
                    kind="document", reason=reason, detail={}, keyspace="k", table=table, partition_key=bytes([number])
                )
                for number, (reason, table) in enumerate([("bad", "t"), ("bad", "u"), ("worse", "t")])
            ]
        )
        store.dead_letters.add([DeadLetter(kind="segment", reason="torn", detail={}, segment_id=1, position=2)])
        every = DeadLetterFilter()
        assert await control.count_dead_letters_by(every, "reason") == {"bad": 2, "torn": 1, "worse": 1}
        assert await control.count_dead_letters_by(every, "table") == {"k.t": 2, "k.u": 1}
        assert await control.count_dead_letters_by(DeadLetterFilter(reason="bad"), "kind") == {"document": 2}
        assert await control.drop_dead_letters(DeadLetterFilter(reason="bad", table="k.t")) == 1
        assert await control.drop_dead_letters(DeadLetterFilter(reason="bad", table="k.t")) == 0
        assert await control.count_dead_letters() == 3
    finally:
        store.close()


async def test_a_pause_outlives_that_the_parts_are_put_together_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[Pause | None] = []

    class Parts:
        def __init__(self) -> None:
            self.tables = SimpleNamespace(shown=())
            self.pipeline = SimpleNamespace(gate=Gate(_Sink()))

        async def run(self) -> bool:
            gate = self.pipeline.gate
            pauses.append(gate.pause)
            gate.close(Pause("anna", 1_700_000_000.5))
            return len(pauses) < 2

    @asynccontextmanager
    async def compose(_: object) -> AsyncIterator[Parts]:
        yield Parts()

    monkeypatch.setattr("cdc_daemon.app.generations.compose", compose)
    context: Any = SimpleNamespace(report_wait=lambda *_: None)
    await Generations(settings(tmp_path), lambda _settings: context).run()
    assert pauses == [None, Pause("anna", 1_700_000_000.5)]
