"""An operator of a running daemon, as the commands need one: starts jobs, follows them, ends them."""

from __future__ import annotations

import http.client
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from cdc_daemon import __version__
from cdc_daemon.errors import CdcError, ConfigError

LOOKED_EVERY = 0.5
"""Seconds between two looks at a job that is followed."""

_BUSY = frozenset({0, 429, 503})


class AdminClient:
    """Asks a daemon to act. `patience` is how many seconds one that is away or busy is waited for.

    Methods raise `CdcError` when a request is refused, or when the daemon stays away. Raises `ConfigError` when the
    address or the files cannot be used.
    """

    def __init__(
        self, url: str, *, token: str | None = None, ca_file: Path | None = None, patience: float = 60.0
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
            raise ConfigError(f"expected a URL such as http://127.0.0.1:8080, found {url!r}")
        self._url = url.rstrip("/")
        self._token = token
        self._patience = patience
        try:
            self._context = ssl.create_default_context(cafile=ca_file) if parts.scheme == "https" else None
        except OSError as error:
            raise ConfigError(f"expected certificates in PEM form, found {error}", file=str(ca_file)) from None

    def start(self, kind: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Have a job taken in; return what is told of it. It is asked for once: who gets no answer looks at `jobs`."""
        return self._ask("POST", f"/admin/{kind}", wanted, again=frozenset({429, 503}))

    def jobs(self, limit: int = 100) -> list[dict[str, Any]]:
        """Return what is told of the newest jobs, newest first."""
        found: list[dict[str, Any]] = self._ask("GET", f"/admin/jobs?limit={limit}")["jobs"]
        return found

    def job(self, identity: str) -> dict[str, Any]:
        """Return what is told of a job."""
        return self._ask("GET", f"/admin/jobs/{quote(identity, safe='')}")

    def cancel(self, identity: str) -> dict[str, Any]:
        """End a job; return what is told of it."""
        return self._ask("POST", f"/admin/jobs/{quote(identity, safe='')}/cancel")

    def follow(self, identity: str) -> Iterator[dict[str, Any]]:
        """Tell of a job again and again until it has ended, also over restarts of the daemon."""
        while True:
            told = self.job(identity)
            yield told
            if told["finished"] is not None:
                return
            time.sleep(LOOKED_EVERY)

    def _ask(
        self, method: str, path: str, content: Mapping[str, Any] | None = None, *, again: frozenset[int] = _BUSY
    ) -> dict[str, Any]:
        until = time.monotonic() + self._patience
        while True:
            status, pause, answer = self._send(method, path, content)
            if status in {200, 202} and isinstance(answer, dict):
                return answer
            if status not in again or time.monotonic() + pause > until:
                raise _refused(status, answer)
            time.sleep(pause)

    def _send(self, method: str, path: str, content: Mapping[str, Any] | None) -> tuple[int, float, Any]:
        """Return the status (0 without an answer), how long to pause, and the answer's JSON or what went wrong."""
        headers = {"User-Agent": f"cdc-daemon/{__version__}"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        body = b"" if method == "POST" else None
        if content is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(content).encode()
        request = urllib.request.Request(self._url + path, body, headers, method=method)  # noqa: S310 -- checked
        try:
            with urllib.request.urlopen(request, timeout=60, context=self._context) as answer:  # noqa: S310
                return answer.status, 0.0, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _pause(error.headers.get("retry-after")), _json(error.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            return 0, 1.0, str(getattr(error, "reason", error))


def _pause(retry_after: str | None) -> float:
    try:
        return min(max(float(retry_after or 1), 0.1), 60.0)
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
    message = answer.get("error") if isinstance(answer, dict) else None
    hint = "name the file of a token of scope admin with --token-file" if status in {401, 403} else None
    return CdcError(f"the daemon answered {status}: {message or 'without a reason'}", hint=hint)
