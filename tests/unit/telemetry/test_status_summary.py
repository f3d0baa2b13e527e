from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import orjson
import pytest

from cdc_daemon.config import MappingSettings
from cdc_daemon.model.signal import TableName
from cdc_daemon.telemetry.metrics import Metrics
from cdc_daemon.telemetry.status_problems import StatusSection
from cdc_daemon.telemetry.status_summary import StatusSummary
from cdc_http.routes.pages import anchor_of

CHECKOUT = Path(__file__).parents[3]
START = 1_700_000_000.0
MAPPINGS = {
    "user": MappingSettings(table=TableName("sunbird", "user"), alias="users"),
    "batch": MappingSettings(table=TableName("sunbird", "batch"), alias="batches"),
}


class Daemon:
    """Metrics and a state that a test changes; they are summarised second by second."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.summary = StatusSummary(self.metrics, MAPPINGS, share=1.0)
        self.now = START
        self.state: dict[str, Any] = {
            "pending": 0,
            "paused": False,
            "position": "7:100",
            "backlog": {"bytes": 0, "segments": 0},
            "cassandra": {"available": True, "nodes": 1, "nodes_up": 1},
            "elasticsearch": {"available": True, "failure": None},
            "schedule": [],
        }

    def look(self, seconds: int = 1) -> Any:
        for _ in range(seconds):
            self.summary.measure(self.now, self.state)
            self.now += 1
        return self.summary.show()

    def settle(self, lag: float, count: int = 1) -> None:
        for _ in range(count):
            self.metrics.replication_lag_seconds.labels("sunbird", "user").observe(lag)
            self.metrics.documents.labels("users", "indexed").inc()
        self.metrics.last_acknowledged_write_timestamp_seconds.labels("sunbird", "user").set(self.now - lag)


@pytest.fixture
def daemon() -> Daemon:
    return Daemon()


def texts(shown: Any) -> list[str]:
    return [problem["text"] for problem in shown["problems"]]


def test_nothing_is_shown_before_the_first_look(daemon: Daemon) -> None:
    assert daemon.summary.show() == {}
    assert daemon.summary.trend()["end"] is None


def test_a_daemon_at_rest(daemon: Daemon) -> None:
    shown = daemon.look()
    assert shown["freshness"] == {"p50": None, "p99": None, "behind": 0.0, "late": False, "window": 60.0}
    assert shown["problems"] == []
    assert shown["cdc_raw"] == {"bytes": 0.0, "limit": None, "segments": 0}
    assert [source["name"] for source in shown["sources"]] == ["commit log", "requests for rows"]
    assert orjson.loads(orjson.dumps(shown)) == shown


def test_freshness_is_of_the_last_minute(daemon: Daemon) -> None:
    daemon.settle(8.0, count=50)
    assert daemon.look()["freshness"]["p50"] > 5
    daemon.look(75)
    daemon.settle(0.12, count=99)
    shown = daemon.look()
    assert 0.1 < shown["freshness"]["p50"] < 0.15
    assert shown["mappings"][0]["p50"] == shown["freshness"]["p50"]
    assert shown["mappings"][1]["p50"] is None
    assert daemon.look(90)["freshness"]["p50"] is None


def test_documents_are_told_by_mapping(daemon: Daemon) -> None:
    daemon.metrics.documents.labels("users", "indexed").inc(3)
    daemon.metrics.documents.labels("users", "dead_lettered").inc()
    daemon.metrics.documents.labels("batches", "deleted").inc(2)
    user, batch = daemon.look()["mappings"]
    assert (user["name"], user["table"], user["alias"]) == ("user", "sunbird.user", "users")
    assert user["documents"] == {"indexed": 3, "dead_lettered": 1}
    assert batch["documents"] == {"deleted": 2}


def test_the_rate_is_of_the_last_seconds(daemon: Daemon) -> None:
    for _ in range(20):
        daemon.settle(0.1, count=7)
        daemon.look()
    assert daemon.summary.show()["rate"]["documents"] == 7.0
    assert daemon.look(20)["rate"]["documents"] == 0.0


def test_a_daemon_that_waits_falls_behind(daemon: Daemon) -> None:
    daemon.settle(0.1)
    daemon.look(5)
    daemon.state |= {"pending": 10, "backlog": {"bytes": 500, "segments": 1}}
    daemon.state["elasticsearch"] = {"available": False, "failure": "ConnectionError"}
    shown = daemon.look(30)
    assert shown["freshness"]["behind"] == 30.0
    assert shown["elasticsearch"]["since"] == START + 5
    assert shown["sources"][0]["state"] == "waiting for Elasticsearch"
    assert texts(shown)[0].startswith("The search engine takes no writes (ConnectionError)")
    assert "Documents are late because the search engine takes no writes." in texts(shown)
    assert shown["freshness"]["late"]

    daemon.state["elasticsearch"] = {"available": True, "failure": None}
    daemon.settle(20.0)
    assert daemon.look()["freshness"]["behind"] == 20.0, "as far as the newest write that is acknowledged"
    daemon.state |= {"pending": 0, "backlog": {"bytes": 0, "segments": 0}}
    shown = daemon.look()
    assert (shown["freshness"]["behind"], shown["problems"]) == (0.0, [])


def test_a_cassandra_that_hangs_is_named_as_the_cause(daemon: Daemon) -> None:
    daemon.settle(0.1)
    daemon.look(5)
    daemon.state |= {"pending": 10, "backlog": {"bytes": 500, "segments": 1}}
    daemon.state["cassandra"] = {"available": False, "failure": "no answer for 2 s", "nodes": 1, "nodes_up": 1}
    shown = daemon.look(30)
    assert texts(shown) == [
        "Cassandra does not answer (no answer for 2 s). Rows cannot be read, so nothing is replicated.",
        "Documents are late because Cassandra does not answer.",
    ]
    assert shown["cassandra"]["since"] == START + 5
    assert shown["sources"][0]["state"] == "waiting for Cassandra"


def test_a_daemon_that_is_slow_is_behind(daemon: Daemon) -> None:
    daemon.settle(0.1)
    daemon.look(5)
    daemon.state |= {"pending": 10, "backlog": {"bytes": 500, "segments": 1}}
    assert texts(daemon.look(30)) == ["Documents are late: changes are waiting to be written to the search engine."]


def test_what_waits_on_disk_is_behind_too(daemon: Daemon) -> None:
    daemon.look()
    daemon.state["spooled"] = 40
    assert daemon.look(20)["freshness"]["behind"] == 20.0


def test_nothing_is_known_of_how_far_behind_a_new_daemon_is(daemon: Daemon) -> None:
    daemon.state |= {"pending": 10}
    assert daemon.look()["freshness"]["behind"] is None


def test_a_write_from_the_future_is_not_ahead_of_now(daemon: Daemon) -> None:
    daemon.settle(-500.0)
    daemon.state |= {"pending": 10}
    assert daemon.look()["freshness"]["behind"] == 0.0


def test_while_it_starts(daemon: Daemon) -> None:
    daemon.state = {"state": "starting", "waiting_for": {"what": "cassandra", "error": "connection refused"}}
    shown = daemon.look(12)
    assert texts(shown) == ["Startup waits for cassandra: connection refused"]
    assert shown["sources"] == []
    assert shown["freshness"]["behind"] is None
    assert daemon.summary.trend()["lines"][-1]["values"] == [None]


@pytest.mark.parametrize(
    ("share", "severities"), [(0.5, []), (0.8, ["warning"]), (0.96, ["critical"]), (1.5, ["critical"])]
)
def test_a_folder_that_fills(daemon: Daemon, share: float, severities: list[str]) -> None:
    daemon.metrics.cdc_raw_limit_bytes.set(4096)
    daemon.metrics.cdc_raw_bytes.set(4096 * share)
    shown = daemon.look()
    assert [problem["severity"] for problem in shown["problems"]] == severities
    assert shown["cdc_raw"]["limit"] == 4096


def test_dead_letters_and_jobs_are_told_as_the_store_has_them(daemon: Daemon) -> None:
    daemon.summary.count(dead_letters=2, open_jobs=1, newest_job=START)
    shown = daemon.look()
    assert (shown["dead_letters"], shown["open_jobs"]) == (2, 1)
    assert texts(shown) == ["2 dead letters: their changes were not replicated."]
    daemon.summary.count(dead_letters=1)
    assert texts(daemon.look()) == ["1 dead letter: its change was not replicated."]


def scheduled(name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "interval": 60.0,
        "running": False,
        "started": START,
        "ended": START,
        "succeeded": 0.0,
        "runs": 4,
        "failures": 4,
        "passed_over": 0,
        "error": "no such column",
        "next": START + 60,
        **more,
    }


def test_pollers_are_sources_and_the_daemon_s_own_timers_are_not(daemon: Daemon) -> None:
    daemon.state["schedule"] = [scheduled("poll sunbird.user"), scheduled("expired values")]
    shown = daemon.look()
    assert [source["name"] for source in shown["sources"]] == ["commit log", "requests for rows", "poll sunbird.user"]
    assert [task["name"] for task in shown["tasks"]] == ["expired values"]
    for each in (shown["sources"][-1], shown["tasks"][0]):
        assert (each["state"], each["since"]) == ("failing", START)
        assert {"title": "last success", "value": None, "unit": "moment", "since_start": False} in each["facts"]
        assert {"title": "runs", "value": 4, "unit": "count", "since_start": True} in each["facts"]
    assert texts(shown) == ["poll sunbird.user fails: no such column", "expired values fails: no such column"]
    daemon.state["schedule"] = [scheduled("expired values", error=None, running=True)]
    assert daemon.look()["tasks"][0]["state"] == "running"


def test_a_daemon_that_follows_no_log(daemon: Daemon) -> None:
    daemon.state["tail"] = False
    assert [source["name"] for source in daemon.look()["sources"]] == ["requests for rows"]


def test_what_has_to_be_compared(daemon: Daemon) -> None:
    daemon.state["reconcile_requests"] = {"missing_segment": 2}
    assert texts(daemon.look()) == [
        "Changes may be missing in the search engine until the tables are reconciled: missing segment."
    ]


def deletes(**more: Any) -> dict[str, Any]:
    return {
        "table": "sunbird.user",
        "every": 3600.0,
        "running": False,
        "searched": START,
        "seconds": 60.0,
        "rows": 70,
        "removed": 3,
        "error": None,
        "bound": 3665.0,
        "overdue": False,
        **more,
    }


def test_the_search_for_removed_rows(daemon: Daemon) -> None:
    daemon.state["deletes"] = [deletes()]
    shown = daemon.look()
    assert texts(shown) == []
    source = shown["sources"][-1]
    assert (source["name"], source["state"]) == ("removed rows sunbird.user", "scheduled")
    assert {fact["title"]: fact["value"] for fact in source["facts"]}["gone from search within"] == 3665.0
    daemon.state["deletes"] = [deletes(running=True, overdue=True)]
    shown = daemon.look()
    assert shown["sources"][-1]["state"] == "running"
    assert texts(shown) == ["Removed rows of sunbird.user may still be found: the search for them is overdue."]
    daemon.state["deletes"] = [deletes(error="no table", overdue=True)]
    shown = daemon.look()
    assert shown["sources"][-1]["state"] == "failing"
    assert texts(shown) == ["The search for removed rows of sunbird.user fails: no table"]


def test_looking_takes_a_small_part_of_the_time() -> None:
    overview = StatusSummary(Metrics(), MAPPINGS, share=1e-9)
    overview.measure(START, {"pending": 1, "backlog": {"bytes": 0, "segments": 0}, "state": "running"})
    shown = overview.show()
    overview.measure(START + 1, {"state": "starting", "waiting_for": {"what": "cassandra", "error": "away"}})
    assert overview.show() is shown


def test_a_pause(daemon: Daemon) -> None:
    daemon.state["paused"] = True
    shown = daemon.look()
    assert shown["sources"][0]["state"] == "paused"
    assert texts(shown) == ["The commit log is paused by an operator: changes wait."]
    daemon.state |= {"paused_by": "anna", "paused_since": START}
    shown = daemon.look()
    assert texts(shown) == ["The commit log is paused by anna: changes wait."]
    assert {(fact["title"], fact["value"]) for fact in shown["sources"][0]["facts"]} >= {
        ("paused by", "anna"),
        ("paused since", START),
    }


def test_critical_problems_come_first(daemon: Daemon) -> None:
    daemon.state["paused"] = True
    daemon.state["cassandra"] = {"available": False}
    assert [problem["severity"] for problem in daemon.look()["problems"]] == ["critical", "warning"]


def test_the_trend_keeps_what_happened(daemon: Daemon) -> None:
    for second in range(21):
        daemon.state["pending"] = second
        daemon.settle(0.12)
        daemon.look()
    lines = {line["name"]: line["values"] for line in daemon.summary.trend()["lines"]}
    assert lines["pending"] == [9, 19]
    assert all(0.1 <= value <= 0.15 for value in lines["freshness_p50"])
    assert lines["available"] == [1.0, 1.0]
    assert lines["documents"][1] == 1.0


def test_each_problem_leads_to_a_section_of_the_page_and_of_the_runbook(daemon: Daemon) -> None:
    daemon.state |= {
        "waiting_for": {"what": "cassandra", "error": "connection refused"},
        "cassandra": {"available": False},
        "elasticsearch": {"available": False, "failure": "ConnectionError"},
        "paused": True,
        "pending": 1,
        "reconcile_requests": {"missing_segment": 2},
        "held": [{"mapping": "user", "table": "sunbird.user", "reason": "another key", "hint": None}],
        "schedule": [scheduled("poll sunbird.user"), scheduled("expired values")],
        "deletes": [deletes(error="no table"), deletes(overdue=True)],
    }
    daemon.metrics.cdc_raw_limit_bytes.set(4096)
    daemon.metrics.cdc_raw_bytes.set(4096)
    daemon.summary.count(dead_letters=1)
    daemon.settle(60.0)
    problems = daemon.look()["problems"]
    assert len(problems) == 13
    assert {problem["section"] for problem in problems} <= {*get_args(StatusSection)}
    headings = re.findall(r"^#+ (.*)$", (CHECKOUT / "docs/runbook.md").read_text(), re.MULTILINE)
    assert {problem["runbook"] for problem in problems} <= {anchor_of(heading) for heading in headings}


def test_the_page_has_each_section_that_a_problem_may_lead_to() -> None:
    page = (CHECKOUT / "http/cdc_http/static/index.html").read_text()
    assert [section for section in get_args(StatusSection) if f'id="{section}"' not in page] == []


def test_a_loop_that_is_stuck_is_a_critical_problem(daemon: Daemon) -> None:
    daemon.state["stuck_loops"] = ["tail"]
    (problem,) = daemon.look()["problems"]
    assert problem["severity"] == "critical"
    assert "tail" in problem["text"]


def test_an_index_in_trouble_is_named_with_its_reason(daemon: Daemon) -> None:
    trouble = {"error_type": "index_closed_exception", "reason": "closed", "hint": "open it", "since": START}
    daemon.state["indices"] = [
        {"alias": "users", "live": "users-000001", "trouble": trouble},
        {"alias": "batches", "live": "batches-000001", "trouble": None},
    ]
    shown = daemon.look()
    assert [problem["severity"] for problem in shown["problems"]] == ["critical"]
    (text,) = texts(shown)
    assert text.startswith("users (users-000001) takes no writes: index_closed_exception: closed. ")
    assert {mapping["name"]: mapping["trouble"] for mapping in shown["mappings"]} == {"user": trouble, "batch": None}
    assert shown["sources"][0]["state"] == "running"
    daemon.state["indices"][0] |= {"live": None, "trouble": {**trouble, "error_type": "index_not_found_exception"}}
    assert texts(daemon.look())[0].startswith("users takes no writes: index_not_found_exception")
