from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from cdc_daemon.app import garbage


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    thresholds = gc.get_threshold()
    gc.set_threshold(700, 10, 10)  # another test of this process may have tuned them already
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def test_full_collections_are_rare_and_pass_over_what_is_there() -> None:
    young, medium, full = gc.get_threshold()
    garbage.tune()
    assert gc.get_threshold()[:2] == (young, medium)
    assert gc.get_threshold()[2] >= 10 * full
    assert gc.get_freeze_count() > 10_000
    assert gc.isenabled()
