from __future__ import annotations

from prometheus_client import CollectorRegistry, Histogram, generate_latest

from cdc_daemon.telemetry.observations import Observations

VALUES = (0.0, 0.05, 0.1, 0.100001, 0.7, 2.0, 2.5, 60.0)


def test_observations_together_are_those_made_one_by_one() -> None:
    single, together = CollectorRegistry(), CollectorRegistry()
    one_by_one = Histogram("lag", "Lag.", ["table"], buckets=(0.05, 0.1, 1, 2), registry=single).labels("user")
    observations = Observations(
        Histogram("lag", "Lag.", ["table"], buckets=(0.05, 0.1, 1, 2), registry=together).labels("user")
    )
    for _ in range(2):
        for value in VALUES:
            one_by_one.observe(value)
            observations.add(value)
        observations.show()
        observations.show()
    assert generate_latest(together) == generate_latest(single)
