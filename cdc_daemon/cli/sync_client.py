"""A caller of the sync endpoint, as `cdc-daemon sync` needs one: in batches, patient with a server that is busy."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cdc_daemon.cli.client import DaemonClient
from cdc_daemon.model.errors import ConfigError

PATH = "/api/data/v1/index/sync"

BATCH = 1000
"""Ids in one request: so many are settled in about a second."""


@dataclass(slots=True)
class Summary:
    """What became of all ids."""

    asked: int = 0
    indexed: int = 0
    deleted: int = 0
    missing: int = 0
    failures: dict[str, str] = field(default_factory=dict)

    def add(self, result: dict[str, Any], asked: int) -> None:
        """Take in one answer."""
        counts = result.get("counts", {})
        self.asked += asked
        self.indexed += counts.get("indexed", 0)
        self.deleted += counts.get("deleted", 0)
        self.missing += counts.get("missing", 0)
        self.failures |= result.get("failures", {})


class SyncClient:
    """Asks a daemon for rows."""

    def __init__(self, daemon: DaemonClient) -> None:
        self._daemon = daemon

    def sync(
        self,
        object_type: str,
        ids: Sequence[Any],
        *,
        refresh: str | None = None,
        progress: Callable[[int], None] = lambda _count: None,
        summary: Summary | None = None,
    ) -> Summary:
        """Ask for all ids, batch by batch, and return what became of them. `progress` is told of each batch's size.

        `summary` takes in each answer as it comes, for those who want to know of a call that was broken off.
        Raises `CdcError` when a request is refused, or when the server stays away.
        """
        summary = summary or Summary()
        path = PATH if refresh is None else f"{PATH}?refresh={refresh}"
        for batch in _batches(ids):
            body = {"params": {}, "request": {"objectType": object_type, "objectIds": list(batch)}}
            summary.add(self._daemon.ask("POST", path, body, headers=_headers())["result"], len(batch))
            progress(len(batch))
        return summary


def _headers() -> dict[str, str]:
    """Return each header that the documented contract asks for, but the authorisation."""
    moment = datetime.now(UTC)
    return {
        "ts": f"{moment:%Y-%m-%d %H:%M:%S}:{moment.microsecond // 1000:03}+0000",
        "X-msgid": str(uuid.uuid4()),
        "X-Device-ID": "cdc-daemon-cli",
    }


def read_ids(lines: Iterator[str]) -> list[Any]:
    """Read ids, one a line: a text, or a JSON object for a key of several columns. Empty lines are passed over.

    Raises `ConfigError` for a line that begins an object and is none.
    """
    ids: list[Any] = []
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if text.startswith("{"):
            try:
                ids.append(json.loads(text))
            except ValueError:
                raise ConfigError("expected an id or a JSON object on each line", line=number) from None
        elif text:
            ids.append(text)
    return ids


def _batches(ids: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(ids), BATCH):
        yield ids[start : start + BATCH]
