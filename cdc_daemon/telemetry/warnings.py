"""Problems that need a person's attention, as sentences with the status page's and the runbook's section."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from cdc_daemon.telemetry.source_status import is_poller

BEHIND_SECONDS = 10.0
"""Lag from which documents count as late. A healthy daemon is within a second."""

RAW_WARNING, RAW_CRITICAL = 0.75, 0.95
"""Shares of cdc_raw's limit. At the limit Cassandra rejects writes."""

Section = Literal["now", "servers", "tables", "indices", "letters", "jobs", "tasks"]
"""Id of the status page's section with more details."""


class Problem(NamedTuple):
    """One problem. `section` is a section of the status page, `runbook` a heading's anchor in docs/runbook.md."""

    severity: Literal["critical", "warning"]
    text: str
    section: Section
    runbook: str


def find_problems(state: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the problems in a daemon's state, critical ones first, as plain values of `Problem`."""
    found = [*_state(state), *_servers(state), *_room(state), *_progress(state), *_work(state)]
    return [problem._asdict() for problem in sorted(found, key=lambda problem: problem.severity != "critical")]


def _state(state: Mapping[str, Any]) -> Iterator[Problem]:
    if state.get("state_lost"):
        text = "The state directory was deleted or replaced: nothing is acknowledged until the daemon is restarted."
        yield Problem("critical", text, "now", "cdcstatelost")


def _servers(state: Mapping[str, Any]) -> Iterator[Problem]:
    waiting = state.get("waiting_for")
    if waiting:
        text = f"Waiting for {waiting['what']} before it can start: {waiting['error']}"
        yield Problem("critical", text, "servers", "cdcdaemonnotready")
    if not state.get("cassandra", {}).get("available", True):
        failure = state["cassandra"].get("failure")
        told = f" ({failure})" if failure else ""
        text = f"Cassandra does not answer{told}: no row can be read, so nothing is replicated."
        yield Problem("critical", text, "servers", "cdccassandraunavailable")
    if not state.get("elasticsearch", {}).get("available", True):
        failure = state["elasticsearch"].get("failure")
        told = f" ({failure})" if failure else ""
        text = f"Elasticsearch takes no writes{told}: changes wait in the commit log."
        yield Problem("critical", text, "servers", "cdcelasticsearchunavailable")
    for index in state.get("indices", ()):
        trouble = index.get("trouble")
        if trouble:
            place = f"{index['alias']} ({index['live']})" if index["live"] else str(index["alias"])
            why = f"{trouble['error_type']}: {trouble['reason']}"
            text = f"{place} takes no writes: {why}. Changes of this index wait; the others go on."
            yield Problem("critical", text, "indices", "cdcindextakesnowrites")


def _room(state: Mapping[str, Any]) -> Iterator[Problem]:
    raw = state.get("cdc_raw") or {}
    share = raw["bytes"] / raw["limit"] if raw.get("limit") else 0.0
    if share >= RAW_WARNING:
        text = f"cdc_raw is {share:.0%} full: at its limit Cassandra rejects writes."
        yield Problem("critical" if share >= RAW_CRITICAL else "warning", text, "now", "cdcrawnearlyfull")


def _progress(state: Mapping[str, Any]) -> Iterator[Problem]:
    for name in state.get("stuck_loops", ()):
        text = f"The daemon's loop {name} is stuck: restart the daemon if nothing else does."
        yield Problem("critical", text, "now", "cdcloopstuck")
    if state.get("paused"):
        by = state.get("paused_by") or "an operator"
        yield Problem("warning", f"The commit log is paused by {by}: its changes wait.", "servers", "cdcdaemonpaused")
    behind = state.get("freshness", {}).get("behind")
    if behind is not None and behind >= BEHIND_SECONDS:
        # No number: a screen reader would read out a sentence that changes each second.
        causes = {
            "cassandra": "Documents are late, as Cassandra does not answer.",
            "elasticsearch": "Documents are late, as Elasticsearch takes no writes.",
        }
        found = (text for server, text in causes.items() if not state.get(server, {}).get("available", True))
        text = next(found, "Documents are late: changes in Cassandra wait to be written to Elasticsearch.")
        yield Problem("warning", text, "now", "cdclagbudgetburningfast")


def _work(state: Mapping[str, Any]) -> Iterator[Problem]:
    letters = state.get("dead_letters", 0)
    if letters:
        noun = "1 dead letter is" if letters == 1 else f"{letters:,} dead letters are"
        text = f"{noun} kept: their documents are not as their rows are."
        yield Problem("warning", text, "letters", "cdcdeadlettersgrowing")
    lost = state.get("reconcile_requests") or {}
    if lost:
        reasons = ", ".join(reason.replace("_", " ") for reason in lost)
        text = f"Changes may be missing in Elasticsearch until tables are compared with it: {reasons}."
        yield Problem("warning", text, "jobs", "cdclossnothealed")
    for held in state.get("held", ()):
        text = f"The mapping {held['mapping']} does not fit its table {held['table']}: {held['reason']}"
        yield Problem("warning", text, "tables", "cdclossnothealed")
    for job in state.get("schedule", ()):
        if job["error"]:
            text = f"{job['name']} fails: {job['error']}"
            if is_poller(job["name"]):
                yield Problem("warning", text, "servers", "cdcpollerlate")
            else:
                yield Problem("warning", text, "tasks", "cdcscheduledworkfailing")
