"""Problems that an operator must fix, as sentences with links to the status page and the runbook."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from cdc_daemon.telemetry.status_sources import is_poller

BEHIND_SECONDS = 10.0
"""Lag in seconds from which documents count as late. A healthy daemon stays below one second."""

RAW_WARNING, RAW_CRITICAL = 0.75, 0.95
"""Shares of the size limit of cdc_raw. At the limit Cassandra rejects writes to CDC tables."""

StatusSection = Literal["now", "servers", "tables", "indices", "letters", "jobs", "tasks"]
"""Id of the status page's section with more details."""


class StatusProblem(NamedTuple):
    """One problem. `section` is a section of the status page, `runbook` a heading's anchor in docs/runbook.md."""

    severity: Literal["critical", "warning"]
    text: str
    section: StatusSection
    runbook: str


def find_problems(state: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the problems in a daemon's state, critical ones first, as plain values of `StatusProblem`."""
    found = [*_state(state), *_servers(state), *_room(state), *_progress(state), *_work(state)]
    return [problem._asdict() for problem in sorted(found, key=lambda problem: problem.severity != "critical")]


def _state(state: Mapping[str, Any]) -> Iterator[StatusProblem]:
    if state.get("state_lost"):
        text = "The state directory was deleted, replaced or damaged. Nothing is acknowledged until a restart."
        yield StatusProblem("critical", text, "now", "cdcstatelost")

    refused = (state.get("config") or {}).get("refused")
    if refused:
        text = f"The changed configuration is refused, and the previous one is in use: {' '.join(refused.split())}"
        yield StatusProblem("warning", text, "now", "cdcconfigreloadrefused")

    clock = state.get("clock") or {}
    if clock.get("wrong"):
        # Rounded, because a screen reader would read out a sentence that changes each second.
        seconds, side = abs(clock["ahead"]), "ahead of" if clock["ahead"] > 0 else "behind"
        text = f"This machine's clock is {_rough(seconds)} {side} the servers' clocks. Documents are ordered by it."
        yield StatusProblem("critical", text, "now", "cdcclockwrong")


def _rough(seconds: float) -> str:
    unit, name = (60.0, "minutes") if seconds >= 90 else (1.0, "seconds")
    return f"about {seconds / unit:.0f} {name}"


def _servers(state: Mapping[str, Any]) -> Iterator[StatusProblem]:
    waiting = state.get("waiting_for")
    if waiting:
        text = f"Startup waits for {waiting['what']}: {waiting['error']}"
        yield StatusProblem("critical", text, "servers", "cdcdaemonnotready")
    if not state.get("cassandra", {}).get("available", True):
        failure = state["cassandra"].get("failure")
        reason = f" ({failure})" if failure else ""
        text = f"Cassandra does not answer{reason}. Rows cannot be read, so nothing is replicated."
        yield StatusProblem("critical", text, "servers", "cdccassandraunavailable")
    if not state.get("elasticsearch", {}).get("available", True):
        failure = state["elasticsearch"].get("failure")
        reason = f" ({failure})" if failure else ""
        engine = state["elasticsearch"].get("engine") or "The search engine"
        text = f"{engine} takes no writes{reason}. Changes wait in the commit log."
        yield StatusProblem("critical", text, "servers", "cdcelasticsearchunavailable")
    for index in state.get("indices", ()):
        trouble = index.get("trouble")
        if trouble:
            place = f"{index['alias']} ({index['live']})" if index["live"] else str(index["alias"])
            why = f"{trouble['error_type']}: {trouble['reason']}"
            text = f"{place} takes no writes: {why}. Changes for this index wait; other indices are not affected."
            yield StatusProblem("critical", text, "indices", "cdcindextakesnowrites")


def _room(state: Mapping[str, Any]) -> Iterator[StatusProblem]:
    raw = state.get("cdc_raw") or {}
    share = raw["bytes"] / raw["limit"] if raw.get("limit") else 0.0
    if share >= RAW_WARNING:
        text = f"cdc_raw is {share:.0%} full. When it is full, Cassandra rejects writes."
        yield StatusProblem("critical" if share >= RAW_CRITICAL else "warning", text, "now", "cdcrawnearlyfull")


def _progress(state: Mapping[str, Any]) -> Iterator[StatusProblem]:
    for name in state.get("stuck_loops", ()):
        text = f"The loop {name} is stuck. Restart the daemon, unless its supervisor already does."
        yield StatusProblem("critical", text, "now", "cdcloopstuck")
    if state.get("paused"):
        by = state.get("paused_by") or "an operator"
        yield StatusProblem(
            "warning",
            f"The commit log is paused by {by}: changes wait.",
            "servers",
            "cdcdaemonpaused",
        )
    behind = state.get("freshness", {}).get("behind")
    if behind is not None and behind >= BEHIND_SECONDS:
        # No number: a screen reader would read out a sentence that changes each second.
        causes = {
            "cassandra": "Documents are late because Cassandra does not answer.",
            "elasticsearch": "Documents are late because the search engine takes no writes.",
        }
        found = (text for server, text in causes.items() if not state.get(server, {}).get("available", True))
        text = next(found, "Documents are late: changes are waiting to be written to the search engine.")
        yield StatusProblem("warning", text, "now", "cdclagbudgetburningfast")


def _work(state: Mapping[str, Any]) -> Iterator[StatusProblem]:
    silent = (state.get("ring") or {}).get("silent", ())
    if silent:
        text = f"Daemons of other nodes do not answer: {', '.join(silent)}. Their changes are written by other daemons."
        yield StatusProblem("warning", text, "servers", "cdcpeerssilent")
    letters = state.get("dead_letters", 0)
    if letters:
        several = f"{letters:,} dead letters: their changes were not replicated."
        text = "1 dead letter: its change was not replicated." if letters == 1 else several
        yield StatusProblem("warning", text, "letters", "cdcdeadlettersgrowing")
    lost = state.get("reconcile_requests") or {}
    if lost:
        reasons = ", ".join(reason.replace("_", " ") for reason in lost)
        text = f"Changes may be missing in the search engine until the tables are reconciled: {reasons}."
        yield StatusProblem("warning", text, "jobs", "cdclossnothealed")
    for held in state.get("held", ()):
        text = f"The mapping {held['mapping']} does not fit its table {held['table']}: {held['reason']}"
        yield StatusProblem("warning", text, "tables", "cdclossnothealed")
    for each in state.get("deletes", ()):
        if each["error"]:
            text = f"The search for removed rows of {each['table']} fails: {each['error']}"
            yield StatusProblem("warning", text, "servers", "cdcdeletesoverdue")
        elif each["overdue"]:
            text = f"Removed rows of {each['table']} may still be found: the search for them is overdue."
            yield StatusProblem("warning", text, "servers", "cdcdeletesoverdue")
    for job in state.get("schedule", ()):
        if job["error"]:
            text = f"{job['name']} fails: {job['error']}"
            if is_poller(job["name"]):
                yield StatusProblem("warning", text, "servers", "cdcpollerlate")
            else:
                yield StatusProblem("warning", text, "tasks", "cdcscheduledworkfailing")
