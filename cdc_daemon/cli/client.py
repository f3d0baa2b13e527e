"""An HTTP client for a running daemon. It retries while the daemon is unreachable or busy."""

from __future__ import annotations

import http.client
import json
import math
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cdc_daemon import __version__
from cdc_daemon.model.errors import CdcError, ConfigError

_BUSY = frozenset({429, 503})
_LONGEST_PAUSE = 60.0
_SHORTEST = 0.1
_NONE_GIVEN = "set the file of a token with --token-file"
_UNKNOWN = "is this token configured in http.auth of the daemon?"
_NOT_ALLOWED = (
    "http.auth of the daemon's configuration must contain a token with the required scope, sync or admin; "
    "set its file with --token-file"
)
_UNTRUSTED = (
    "set the CA of the daemon's certificate with --ca-file or CDC_DAEMON_CA_FILE, and with --url or CDC_DAEMON_URL an "
    "address that is in the certificate, such as https://localhost:9808"
)
_UNREACHABLE = "is the daemon running, and is --url correct, with http or https?"

_REPORT_INTERVAL = 10.0
"""Seconds between two reports of a client that still waits."""


class DaemonClient:
    """Sends requests to one daemon. `patience` is the total time in seconds for a request, retries included.

    When the daemon is unreachable or busy, the client waits and calls `on_wait` with the reason, at first and then
    every ten seconds.

    Raises `ConfigError` if the address or the files are not usable.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        ca_file: Path | None = None,
        patience: float = 60.0,
        timeout: float = 120.0,
        on_wait: Callable[[str], None] = lambda _reason: None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
            raise ConfigError(f"expected a URL such as http://127.0.0.1:8080, found {url!r}")
        self._url = url.rstrip("/")
        self._token = token
        self._patience = patience
        self._timeout = timeout
        self._on_wait = on_wait
        try:
            self._context = ssl.create_default_context(cafile=ca_file) if parts.scheme == "https" else None
        except OSError as error:
            raise ConfigError(f"expected certificates in PEM format, found {error}", file=str(ca_file)) from None

    def ask(self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None) -> Any:
        """Send a request, and again while the daemon is unreachable or busy. Return the JSON of the answer.

        Raises `CdcError` if the request is refused, if the daemon's certificate is not trusted, or if the daemon does
        not answer in time.
        """
        until = time.monotonic() + self._patience
        reported = -math.inf
        while True:
            left = max(until - time.monotonic(), _SHORTEST)
            status, pause, answer = self._send(method, path, body, headers or {}, min(self._timeout, left))
            if 200 <= status < 300:
                return answer
            if (status not in _BUSY and status != 0) or time.monotonic() + pause > until:
                raise _refused(status, answer, with_token=self._token is not None)
            if time.monotonic() >= reported + _REPORT_INTERVAL:
                reported = time.monotonic()
                reason = f"it answered {status}" if status else str(answer)
                self._on_wait(f"waiting for the daemon at {self._url}: {reason}")
            time.sleep(pause)

    def _send(
        self, method: str, path: str, body: Any, headers: Mapping[str, str], timeout: float
    ) -> tuple[int, float, Any]:
        """Return the status (0 without an answer), the pause before a retry, and the answer's JSON or the error."""
        content = None if body is None else json.dumps(body).encode()
        usual = {
            "Content-Type": "application/json",
            "Authorization": f"Bearer {self._token or 'none'}",
            "User-Agent": f"cdc-daemon/{__version__}",
        }
        request = urllib.request.Request(self._url + path, content, {**usual, **headers}, method=method)  # noqa: S310 -- checked
        try:
            with urllib.request.urlopen(request, timeout=timeout, context=self._context) as answer:  # noqa: S310
                return answer.status, 0.0, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _pause(error.headers.get("retry-after")), _json(error.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise CdcError(
                    f"expected a trusted certificate, found: {reason.verify_message}",
                    hint=_UNTRUSTED,
                    url=self._url,
                ) from None
            return 0, 1.0, str(reason)


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


def _refused(status: int, answer: Any, *, with_token: bool) -> CdcError:
    if status == 0:
        return CdcError(f"expected the daemon to answer, found {answer}", hint=_UNREACHABLE)
    message = None
    if isinstance(answer, dict):
        message = answer.get("error") or answer.get("params", {}).get("errmsg")
        expected = (answer.get("result") or {}).get("expected")
        if message and isinstance(expected, list):
            message = f"{message.rstrip('.')}: expected one of {', '.join(map(str, expected))}."
    hint = None
    if status == 401:
        hint = _UNKNOWN if with_token else _NONE_GIVEN
    elif status == 403:
        hint = _NOT_ALLOWED
    # With 400 the request itself is wrong, which means that the command line or the configuration is.
    error = ConfigError if status == 400 else CdcError
    return error(f"the daemon answered {status}: {message or 'without a reason'}", hint=hint)
