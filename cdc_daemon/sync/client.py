"""A caller of the sync endpoint, as `cdc-daemon sync` needs one: in batches, patient with a server that is busy."""

from __future__ import annotations

import http.client
import json
import ssl
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cdc_daemon import __version__
from cdc_daemon.errors import CdcError, ConfigError

PATH = "/api/data/v1/index/sync"

BATCH = 1000
"""Ids in one request: so many are settled in about a second."""

_BUSY = frozenset({429, 503})
_LONGEST_PAUSE = 60.0


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
    """Asks a daemon for rows. `patience` is how many seconds a server that is away or busy is waited for.

    Raises `ConfigError` when the address or the files cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        ca_file: Path | None = None,
        patience: float = 60.0,
        timeout: float = 120.0,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
            raise ConfigError(f"expected a URL such as http://127.0.0.1:8080, found {url!r}")
        self._url = url.rstrip("/") + PATH
        self._token = token
        self._patience = patience
        self._timeout = timeout
        try:
            self._context = ssl.create_default_context(cafile=ca_file) if parts.scheme == "https" else None
        except OSError as error:
            raise ConfigError(f"expected certificates in PEM form, found {error}", file=str(ca_file)) from None

    def sync(
        self,
        object_type: str,
        ids: Sequence[Any],
        *,
        refresh: str | None = None,
        progress: Callable[[int], None] = lambda _count: None,
    ) -> Summary:
        """Ask for all ids, batch by batch, and return what became of them. `progress` is told of each batch's size.

        Raises `CdcError` when a request is refused, or when the server stays away.
        """
        summary = Summary()
        for batch in _batches(ids):
            summary.add(self._ask(object_type, batch, refresh), len(batch))
            progress(len(batch))
        return summary

    def _ask(self, object_type: str, ids: Sequence[Any], refresh: str | None) -> dict[str, Any]:
        until = time.monotonic() + self._patience
        while True:
            status, pause, answer = self._send(object_type, ids, refresh)
            if status == 200:
                result: dict[str, Any] = answer["result"]
                return result
            if status not in _BUSY and status != 0:
                raise _refused(status, answer)
            if time.monotonic() + pause > until:
                raise _refused(status, answer)
            time.sleep(pause)

    def _send(self, object_type: str, ids: Sequence[Any], refresh: str | None) -> tuple[int, float, Any]:
        """Return the status (0 without an answer), how long to pause, and the answer's JSON or what went wrong."""
        body = {"params": {}, "request": {"objectType": object_type, "objectIds": list(ids)}}
        url = self._url if refresh is None else f"{self._url}?refresh={refresh}"
        request = urllib.request.Request(url, json.dumps(body).encode(), self._headers(), method="POST")  # noqa: S310 -- checked
        try:
            with urllib.request.urlopen(request, timeout=self._timeout, context=self._context) as answer:  # noqa: S310
                return answer.status, 0.0, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _pause(error.headers.get("retry-after")), _json(error.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            return 0, 1.0, str(getattr(error, "reason", error))

    def _headers(self) -> dict[str, str]:
        """Return each header that the documented contract asks for."""
        moment = datetime.now(UTC)
        return {
            "Content-Type": "application/json",
            "ts": f"{moment:%Y-%m-%d %H:%M:%S}:{moment.microsecond // 1000:03}+0000",
            "X-msgid": str(uuid.uuid4()),
            "X-Device-ID": "cdc-daemon-cli",
            "Authorization": f"Bearer {self._token or 'none'}",
            "User-Agent": f"cdc-daemon/{__version__}",
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


def _pause(retry_after: str | None) -> float:
    try:
        return min(max(float(retry_after or 1), 0.1), _LONGEST_PAUSE)
    except ValueError:
        return 1.0


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body[:200].decode(errors="replace")


def _refused(status: int, answer: Any) -> CdcError:
    if status == 0:
        return CdcError(f"expected the daemon to answer, found {answer}", hint="is it running, and is --url right?")
    message = answer.get("params", {}).get("errmsg") if isinstance(answer, dict) else None
    hint = "name a token's file with --token-file" if status in {401, 403} else None
    return CdcError(f"the daemon answered {status}: {message or 'without a reason'}", hint=hint)
