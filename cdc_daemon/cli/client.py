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
from cdc_daemon.cli.local_daemon import LocalDaemon
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

_NOT_LOCAL = "is the daemon running on this host with this state directory?"

_REPORT_INTERVAL = 10.0
"""Seconds between two reports of a client that still waits."""


class DaemonClient:
    """Sends requests to one daemon. `patience` is the total time in seconds for a request, retries included.

    A request goes to the control socket of the `local` daemon, if there is one and this user may open it, and
    otherwise to `url`. With `url` None there is only the socket.

    When the daemon is unreachable or busy, the client waits and calls `on_wait` with the reason, at first and then
    every ten seconds.

    Raises `ConfigError` if the address or the files are not usable.
    """

    def __init__(
        self,
        url: str | None,
        *,
        local: LocalDaemon | None = None,
        token: str | None = None,
        ca_file: Path | None = None,
        patience: float = 60.0,
        timeout: float = 120.0,
        on_wait: Callable[[str], None] = lambda _reason: None,
    ) -> None:
        parts = urlsplit(url or "http://localhost")
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
            raise ConfigError(f"expected a URL such as http://127.0.0.1:8080, found {url!r}")
        self._url = None if url is None else url.rstrip("/")
        self._local = local
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
                raise self._refused(status, answer)
            if time.monotonic() >= reported + _REPORT_INTERVAL:
                reported = time.monotonic()
                reason = f"it answered {status}" if status else str(answer)
                self._on_wait(f"waiting for the daemon at {self._place()}: {reason}")
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
        all_headers = {**usual, **headers}
        if self._local is not None:
            try:
                found = self._local.send(method, path, content, all_headers, timeout)
            except (OSError, http.client.HTTPException, ValueError) as error:
                return 0, 1.0, str(error) or type(error).__name__
            if found is not None:
                return found.status, _pause(found.retry_after), _json(found.body)
        if self._url is None:
            return 0, 1.0, "" if self._local is None else self._local.trouble
        request = urllib.request.Request(self._url + path, content, all_headers, method=method)  # noqa: S310 -- checked
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

    def _place(self) -> str:
        if self._local is not None and (self._url is None or not self._local.trouble):
            return str(self._local.path)
        return str(self._url)

    def _refused(self, status: int, answer: Any) -> CdcError:
        local = None if self._local is None else self._local.trouble or None
        return _refusal(status, answer, with_token=self._token is not None, local=local)


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


def _refusal(status: int, answer: Any, *, with_token: bool, local: str | None) -> CdcError:
    if status == 0:
        reason = f"expected the daemon to answer, found {answer}"
        if local is None:
            return CdcError(reason, hint=_UNREACHABLE)
        return CdcError(reason, hint=_NOT_LOCAL if answer == local else f"is the daemon running? {local}")
    message = None
    if isinstance(answer, dict):
        message = answer.get("error") or answer.get("params", {}).get("errmsg")
        expected = (answer.get("result") or {}).get("expected")
        if message and isinstance(expected, list):
            message = f"{message.rstrip('.')}: expected one of {', '.join(map(str, expected))}."
    hint: str | None = None
    if status == 401:
        hint = _UNKNOWN if with_token else _NONE_GIVEN if local is None else f"{local}; or {_NONE_GIVEN}"
    elif status == 403:
        hint = _NOT_ALLOWED if local is None else f"{local}; or {_NOT_ALLOWED}"
    # With 400 the request itself is wrong, which means that the command line or the configuration is.
    error = ConfigError if status == 400 else CdcError
    return error(f"the daemon answered {status}: {message or 'without a reason'}", hint=hint)
