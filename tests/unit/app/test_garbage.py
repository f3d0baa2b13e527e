from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from cdc_daemon.app import garbage
from cdc_daemon.config.settings import PipelineSettings
from cdc_daemon.telemetry.metrics import Metrics


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    thresholds = gc.get_threshold()
    gc.set_threshold(700, 10, 10)  # another test of this process may have tuned them already
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def test_collections_are_rare_and_pass_over_what_is_there() -> None:
    before = gc.get_threshold()
    garbage.tune()
    assert all(now >= 2 * then for now, then in zip(gc.get_threshold(), before, strict=True))
    assert gc.get_threshold()[0] >= PipelineSettings().pending_limit
    assert gc.get_freeze_count() > 10_000
    assert gc.isenabled()


def test_the_pauses_of_collections_are_exported() -> None:
    metrics = Metrics()
    pauses = garbage.CollectorPauses(metrics)
    with pauses.measuring():
        gc.collect(0)
        gc.collect()
        gc.collect()
    gc.collect()
    pauses.show()
    full = value(metrics, "garbage_collections_total", "full")
    assert full >= 2
    assert value(metrics, "garbage_collections_total", "young") >= 1
    pauses.show()  # what was exported once is not counted again
    assert value(metrics, "garbage_collections_total", "full") == full
    assert value(metrics, "garbage_collection_seconds_total", "full") > 0
    longest = metrics.registry.get_sample_value("cdc_daemon_garbage_collection_longest_seconds")
    assert longest is not None
    assert 0 < longest <= value(metrics, "garbage_collection_seconds_total", "full")


def value(metrics: Metrics, name: str, generation: str) -> float:
    found = metrics.registry.get_sample_value(f"cdc_daemon_{name}", {"generation": generation})
    assert found is not None
    return found
