"""Requests for rows by their ids, sent to a running daemon in batches."""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from cdc_daemon.model.id_file import FileEntry

if TYPE_CHECKING:
    from cdc_daemon.cli.client import DaemonClient

_PATH = "/api/data/v1/index/sync"

BATCH = 1000
"""The number of ids in one request, which takes about a second."""

KEPT_FAILURES = 1000
"""The maximum number of failures that are kept with their reasons. All are counted."""

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 3.0
"""Seconds between two requests for the status of a job. The pause grows from the first to the second."""


@dataclass(slots=True)
class SyncSummary:
    """The results of all ids. `failed` counts the ids and lines that failed, `failures` has the first of them."""

    asked: int = 0
    indexed: int = 0
    deleted: int = 0
    missing: int = 0
    failed: int = 0
    failures: dict[str, str] = field(default_factory=dict)

    def add(self, result: Mapping[str, Any], asked: int) -> None:
        """Add the results of one answer."""
        counts = result.get("counts", {})
        self.asked += asked
        self.indexed += counts.get("indexed", 0)
        self.deleted += counts.get("deleted", 0)
        self.missing += counts.get("missing", 0)
        self.fail(result.get("failures", {}))

    def fail(self, failures: Mapping[str, str]) -> None:
        """Add ids or lines that failed, with the reasons."""
        self.failed += len(failures)
        self.failures.update(itertools.islice(failures.items(), max(0, KEPT_FAILURES - len(self.failures))))


class SyncClient:
    """Sends requests for rows to a daemon. Methods raise `CdcError` if it refuses a request or does not answer."""

    def __init__(self, daemon: DaemonClient) -> None:
        self._daemon = daemon

    def sync(
        self,
        object_type: str,
        ids: Sequence[Any],
        *,
        refresh: str | None = None,
        progress: Callable[[int], None] = lambda _count: None,
        summary: SyncSummary | None = None,
    ) -> SyncSummary:
        """Request all ids, batch by batch, and return the results. `progress` is called with the size of each batch.

        Each answer is added to `summary`, so that the caller has the results if the call fails.
        """
        summary = summary or SyncSummary()
        for batch in _batches(ids):
            summary.add(self._ask(object_type, batch, refresh=refresh), len(batch))
            progress(len(batch))
        return summary

    def sync_file(
        self,
        object_type: str,
        entries: Iterable[FileEntry],
        *,
        refresh: str | None = None,
        progress: Callable[[FileEntry], None] = lambda _last: None,
        summary: SyncSummary,
    ) -> None:
        """Request the ids of a file, batch by batch. `progress` is called with the last entry of each batch.

        Lines without a valid id are failures of the `summary`, by their numbers; the others are done nevertheless.
        """
        for batch in _batches(entries):
            summary.fail({f"line {each.line}": each.problem for each in batch if each.problem is not None})
            named = [each for each in batch if each.problem is None]
            if named:
                ids = [each.identity for each in named]
                result = self._ask(object_type, ids, refresh=refresh, invalid="report")
                invalid = {f"line {named[each['index']].line}": each["reason"] for each in result.get("invalid", [])}
                summary.add(result, len(named) - len(invalid))
                summary.fail(invalid)
            progress(batch[-1])

    def start(self, kind: str, wanted: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002 -- there is one kind
        """Start a job for the rows of a type that changed in the last days; return its status."""
        request = {"objectType": wanted["types"][0], "days": wanted["days"], "operationType": "async"}
        return _as_job(self._send("POST", _PATH, {"params": {}, "request": request}))

    def follow(self, identity: str) -> Iterator[dict[str, Any]]:
        """Yield the status of a job until it ends, even if the daemon restarts meanwhile."""
        pause = FIRST_PAUSE
        while True:
            job = _as_job(self._send("GET", f"{_PATH}/{quote(identity, safe='')}"))
            yield job
            if job["finished"] is not None:
                return
            time.sleep(pause)
            pause = min(1.5 * pause, LONGEST_PAUSE)

    def _ask(self, object_type: str, ids: Sequence[Any], **query: str | None) -> dict[str, Any]:
        given = "&".join(f"{name}={value}" for name, value in query.items() if value is not None)
        body = {"params": {}, "request": {"objectType": object_type, "objectIds": ids}}
        return self._send("POST", f"{_PATH}?{given}" if given else _PATH, body)

    def _send(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        result: dict[str, Any] = self._daemon.ask(method, path, body, headers=_headers())["result"]
        return result


def _as_job(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the status of a job in the form of the other jobs on whole tables."""
    return {**result, "kind": "sync", "rows": result["settled"], "report": {}}


def _headers() -> dict[str, str]:
    """Return the headers that the documented contract requires, except the authorisation."""
    moment = datetime.now(UTC)
    return {
        "ts": f"{moment:%Y-%m-%d %H:%M:%S}:{moment.microsecond // 1000:03}+0000",
        "X-msgid": str(uuid.uuid4()),
        "X-Device-ID": "cdc-daemon-cli",
    }


def _batches(entries: Iterable[Any]) -> Iterator[list[Any]]:
    each = iter(entries)
    while batch := list(itertools.islice(each, BATCH)):
        yield batch
