"""The part that watches the state: damage that is found while the daemon runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from cdc_daemon.app.parts.store import StorePart
from cdc_daemon.store.store import FILE_NAME
from cdc_daemon.telemetry.metrics import Metrics


async def wait_for(look: Callable[[], bool]) -> None:
    for _ in range(6000):
        if look():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen within a minute")


async def test_damage_is_found_from_time_to_time_and_the_state_counts_as_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cdc_daemon.app.parts.store.COUNT_SECONDS", 0.01)
    monkeypatch.setattr("cdc_daemon.app.parts.store.VERIFY_SECONDS", 0.0)
    metrics, counts = Metrics(), list[Mapping[str, float]]()
    with StorePart.open(tmp_path, metrics, counted=lambda **found: counts.append(found)) as part:
        running = asyncio.create_task(part.run())
        await wait_for(lambda: bool(counts))
        assert part.status() == {"state_lost": None}
        file = tmp_path / FILE_NAME
        with part.store._database.reading() as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with file.open("r+b") as opened:
            opened.seek(4096)
            opened.write(b"\xa5" * (file.stat().st_size - 4096))
        await wait_for(lambda: part.lost is not None)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert "damaged" in str(part.status()["state_lost"])
    assert b"cdc_daemon_state_lost 1.0" in generate_latest(metrics.registry)
