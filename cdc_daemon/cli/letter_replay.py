"""Asking a running daemon to replay dead letters."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_daemon.cli.client import DaemonClient
    from cdc_daemon.store.letter_filter import LetterFilter

LARGEST = 2**63 - 1
"""The largest id that SQLite gives."""

_PAGE = 200
"""Letters replayed by one request."""


def replay_id(client: DaemonClient, identity: int, *, dry_run: bool) -> dict[str, Any]:
    """Replay one letter. None may have this id any more: the others named are replayed all the same."""
    query = {"above": identity - 1, "limit": 1} | ({"below": identity + 1} if identity < LARGEST else {})
    answer: dict[str, Any] = client.ask(
        "POST", f"/admin/dead-letters/replay?{urlencode(query | ({'dry_run': 'true'} if dry_run else {}))}"
    )
    return answer


def replay_filtered(client: DaemonClient, wanted: LetterFilter, *, dry_run: bool) -> Iterator[dict[str, Any]]:
    """Replay the letters wanted page by page; the answer of the first page tells how many there were."""
    moments = {"before": wanted.before, "since": wanted.since}
    query: dict[str, Any] = {"kind": wanted.kind, "reason": wanted.reason, "table": wanted.table}
    query |= {name: None if moment is None else moment / 1e6 for name, moment in moments.items()}
    query = {name: value for name, value in query.items() if value is not None} | {"limit": _PAGE}
    if dry_run:
        yield client.ask("POST", f"/admin/dead-letters/replay?{urlencode({**query, 'dry_run': 'true'})}")
        return
    above, first = 0, True
    # Letters set aside meanwhile are for the next replay: a moment is a bound that moves with nothing.
    query.setdefault("before", time.time())
    while True:
        answer = client.ask("POST", f"/admin/dead-letters/replay?{urlencode({**query, 'above': above})}")
        yield answer if first else {**answer, "total": 0}
        if answer["next"] is None:
            return
        above, first = answer["next"], False
