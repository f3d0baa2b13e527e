from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from cdc_daemon.sources.log.ports import TailOptions
from tests.segments import CommitLogWriter
from tests.unit.sources.log.harness import Harness


@pytest.fixture
def node(tmp_path: Path) -> CommitLogWriter:
    """Cassandra's side: a commit log with one segment in use and one prepared."""
    return CommitLogWriter(tmp_path)


MakeHarness = Callable[..., Harness]


@pytest.fixture
async def make_harness(tmp_path: Path, node: CommitLogWriter) -> AsyncIterator[MakeHarness]:
    """Create the daemon's side on the same folders; kill it at the end of the test."""
    made: list[Harness] = []

    def make(*, instant: bool = True, options: TailOptions | None = None) -> Harness:
        harness = Harness(tmp_path, instant=instant, options=options)
        made.append(harness)
        return harness

    yield make
    for harness in made:
        with suppress(Exception):
            await harness.kill()
