"""What people must know is found in the metrics and the status: once, counted, and not again after a restart."""

from __future__ import annotations

from typing import Any

import pytest

from cdc_daemon.config.webhook import WebhookSettings
from cdc_daemon.telemetry.metrics import Metrics
from cdc_daemon.telemetry.webhook.notices import Notice, NoticeFinder
from cdc_daemon.telemetry.webhook.signature import sign

IDLE = {"state": "running", "pending": 0, "backlog": {"bytes": 0}, "spooled": 0, "paused": False}
BUSY = {**IDLE, "pending": 7}


class Found:
    """Looks with a clock of its own."""

    def __init__(self, *, quarantined: int = 0, **settings: Any) -> None:
        self.metrics = Metrics()
        self.finder = NoticeFinder(self.metrics, WebhookSettings(**settings), quarantined=quarantined)
        self.now = 1000.0
        self.status: dict[str, Any] = dict(IDLE)

    def after(self, seconds: float) -> list[Notice]:
        self.now += seconds
        return self.finder.look(self.now, self.status)


@pytest.fixture
def found() -> Found:
    return Found()


def test_nothing_is_found_in_a_healthy_daemon(found: Found) -> None:
    assert [found.after(60) for _ in range(20)] == [[]] * 20


def test_dead_letters_are_counted_by_reason_and_reported_once_a_minute(found: Found) -> None:
    found.metrics.dead_letters.labels("HookError").inc()
    (notice,) = found.after(1)
    assert notice == Notice(
        "dead_letter",
        "warning",
        "A change could not be replicated and became a dead letter.",
        "cdcdeadlettersgrowing",
        1,
        {"reasons": {"HookError": 1}},
    )
    found.metrics.dead_letters.labels("HookError").inc()
    found.metrics.dead_letters.labels("mapper_parsing_exception").inc(4)
    assert found.after(58) == []
    (notice,) = found.after(2)
    assert notice.times == 5
    assert notice.text == "5 changes could not be replicated and became dead letters."
    assert list(notice.details["reasons"].items()) == [("mapper_parsing_exception", 4), ("HookError", 1)]
    assert found.after(600) == []


def test_many_reasons_do_not_make_a_long_event(found: Found) -> None:
    for number in range(100):
        found.metrics.dead_letters.labels(f"reason-{number}").inc()
    (notice,) = found.after(1)
    assert len(notice.details["reasons"]) == 20
    assert notice.times == 100


def test_a_gap(found: Found) -> None:
    found.metrics.gaps.labels("missing").inc()
    (notice,) = found.after(1)
    assert (notice.event, notice.details) == ("gap", {"reasons": {"missing": 1}})


def test_only_new_segments_in_the_quarantine_are_reported() -> None:
    found = Found(quarantined=2)
    assert found.after(1) == []
    found.metrics.quarantined_segments.set(2)  # measured for the first time after a restart
    assert found.after(60) == []
    found.metrics.quarantined_segments.set(3)
    (notice,) = found.after(60)
    assert (notice.event, notice.times, notice.details) == ("quarantined_segment", 1, {"kept": 3})


def test_drift_is_reported_by_each_comparison_that_finds_it(found: Found) -> None:
    found.metrics.drift_documents.labels("user", "missing").set(2)
    found.metrics.drift_documents.labels("user", "surplus").set(1)
    found.metrics.drift_documents.labels("order", "missing").set(0)
    for name in ("user", "order"):
        found.metrics.drift_compared_timestamp_seconds.labels(name).set(500)
    (notice,) = found.after(1)
    assert (notice.event, notice.times, notice.details) == ("drift", 3, {"documents": {"user": 3}})
    assert found.after(600) == []
    found.metrics.drift_compared_timestamp_seconds.labels("user").set(600)
    assert [each.event for each in found.after(60)] == ["drift"]


def test_a_stall_is_reported_once_and_its_end(found: Found) -> None:
    found.status = dict(BUSY)
    assert [found.after(100) for _ in range(3)] == [[]] * 3
    (notice,) = found.after(100)
    assert (notice.event, notice.severity, notice.details) == ("stalled", "critical", {"seconds": 300})
    assert found.after(600) == []
    found.metrics.keys_settled.labels(*["x"] * len(found.metrics.keys_settled._labelnames)).inc()
    (notice,) = found.after(60)
    assert (notice.event, notice.severity) == ("stalled", "resolved")


def test_progress_a_pause_and_a_stop_are_no_stall(found: Found) -> None:
    found.status = dict(BUSY)
    for _ in range(10):
        found.metrics.changes_confirmed.inc()
        assert found.after(200) == []
    for status in ({**BUSY, "paused": True}, {**BUSY, "state": "stopping"}, IDLE):
        found.status = status
        assert [found.after(200) for _ in range(4)] == [[]] * 4


def test_a_start_that_waits_for_a_server_is_a_stall(found: Found) -> None:
    found.status = {"state": "starting", "waiting_for": {"what": "cassandra", "error": "no answer"}}
    notices = [notice for _ in range(5) for notice in found.after(100)]
    assert [each.text for each in notices] == [
        "Changes are waiting, and none has been acknowledged for 300 seconds. The daemon waits for cassandra."
    ]


def test_only_the_wanted_events_are_looked_for() -> None:
    found = Found(events=("gap",), every=5.0)
    found.metrics.dead_letters.labels("x").inc()
    found.metrics.gaps.labels("x").inc()
    assert [each.event for each in found.after(1)] == ["gap"]


def test_the_signature_is_that_of_the_specification() -> None:
    # The example in the reference implementation's tests.
    headers = sign(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
