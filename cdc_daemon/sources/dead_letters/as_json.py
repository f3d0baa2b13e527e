"""Dead letters as plain values, for answers and for `--json`."""

from __future__ import annotations

from typing import Any

from cdc_daemon.model.errors import NOT_BUILT
from cdc_daemon.store.dead_letters import DOCUMENT, DeadLetter


def dead_letter_as_json(letter: DeadLetter) -> dict[str, Any]:
    """Return a letter as JSON-ready values: moments in seconds since epoch, bytes hexadecimal.

    `count` is the number of mutations that the letter covers: all mutations of an unknown table share one letter. `key`
    is the row's key by column name, if it could be decoded. `document` holds the first characters of a document that
    Elasticsearch rejected. `row` holds the first characters of a row from which no document can be built.
    """
    clustering, payload = letter.clustering, letter.payload
    start = None if payload is None or letter.kind != DOCUMENT else payload.decode(errors="replace")
    is_built = letter.reason not in NOT_BUILT
    return {
        "id": letter.id,
        "at": _seconds(letter.at),
        "last_at": _seconds(letter.at if letter.last_at is None else letter.last_at),
        "attempts": letter.attempts,
        "count": letter.count,
        "kind": letter.kind,
        "reason": letter.reason,
        "keyspace": letter.keyspace,
        "table": letter.table,
        "key": letter.detail.get("key"),
        "alias": letter.alias or None,
        "partition_key": None if letter.partition_key is None else letter.partition_key.hex(),
        "clustering": None if clustering is None else [None if part is None else part.hex() for part in clustering],
        "segment_id": letter.segment_id,
        "position": letter.position,
        "detail": {name: value for name, value in letter.detail.items() if name != "key"},
        "document": start if is_built else None,
        "row": None if is_built else start,
        "payload_bytes": None if payload is None else len(payload),
    }


def _seconds(moment: int | None) -> float | None:
    return None if moment is None else moment / 1e6
