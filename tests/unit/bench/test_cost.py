from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from bench import cost


@pytest.fixture(autouse=True)
def _collector_as_it_was() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def test_each_step_is_measured_and_its_result_checked() -> None:
    report = cost.measure(runs=2, rounds=1)
    assert report.verdict == "EQUAL"
    assert len(report.rows) == 7
    for name, figures in report.rows.items():
        assert name.endswith("CPU us a change")
        assert len(figures.values) == 2
    lines = str(report).splitlines()
    assert lines[0] == "cost of the pure code paths"
    assert any(line.startswith("machine: ") for line in lines)
    assert any(line.startswith("versions: cdc-daemon ") for line in lines)
    assert report.as_dict()["figures"].keys() == report.rows.keys()
