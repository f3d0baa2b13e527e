from __future__ import annotations

from cdc_daemon.model.errors import PeerError
from cdc_daemon.telemetry.status_brief import list_statuses, shorten_status


def test_a_short_status_has_the_keys_that_show_a_daemon_beside_others() -> None:
    status = {"node": "a", "state": "running", "dead_letters": 2, "mappings": [1], "problems": []}
    assert shorten_status(status, "x") == {
        "instance": "x",
        "node": "a",
        "state": "running",
        "dead_letters": 2,
        "problems": [],
    }


def test_the_own_status_comes_first_and_is_not_repeated() -> None:
    own = {"instance": "x", "node": "a", "state": "running"}
    others = {
        "10.0.0.3": {"instance": "z", "node": "c", "state": "starting"},
        "10.0.0.1": dict(own),
        "10.0.0.2": PeerError("expected an answer within 2 s, found none", peer="10.0.0.2"),
        "10.0.0.4": ["another answer"],
    }
    found = list_statuses(own, others)
    assert [(each["peer"], each["state"]) for each in found] == [
        (None, "running"),
        ("10.0.0.2", "unreachable"),
        ("10.0.0.3", "starting"),
        ("10.0.0.4", "unreachable"),
    ]
    assert found[1]["error"] == "expected an answer within 2 s, found none"
