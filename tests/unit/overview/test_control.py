"""What an operator sees of the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from cdc_daemon.config import Settings
from cdc_daemon.control import Control
from cdc_daemon.dead_letters.replay import Replayer
from cdc_daemon.pipeline.gate import Gate
from cdc_daemon.store import Store
from cdc_daemon.store.jobs import Job


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
        assert store.jobs.count_open() == (0, 0)
        for number in range(3):
            store.jobs.add(Job(id=str(number), kind="sync", object_type="user"), ["a"], part=10, limit=10)
        store.jobs.finish("1")
        assert store.jobs.count_open() == (2, max(job.created for job in store.jobs.newest()))
        assert {job.id for job in await control.sync_jobs(10)} == {"0", "1", "2"}
        assert len(await control.sync_jobs(2)) == 2
    finally:
        store.close()
