from __future__ import annotations

import pytest

from cdc_daemon.cli.checks.clock import judge_clock


@pytest.mark.parametrize(
    ("leads", "status", "found"),
    [
        ([0.1, -0.1, 0.2], "ok", "0.1 s ahead of"),
        ([3600.0, 3600.2], "warn", "3600.1 s ahead of"),
        ([-30.0], "warn", "30.0 s behind"),
        ([0.0, 0.1, 7.0], "warn", "differ by 7.0 s"),
        ([5000.0, 0.0, 0.1], "warn", "differ by 5000.0 s"),
        ([], "warn", "could not be compared"),
    ],
)
def test_a_clock_is_judged_by_the_median_of_the_servers(leads: list[float], status: str, found: str) -> None:
    finding = judge_clock(leads, 2.0)
    assert (finding.name, finding.status) == ("clock", status)
    assert found in finding.found
