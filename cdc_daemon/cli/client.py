"""A caller of a running daemon: patient with one that is away or busy."""

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
_NONE_GIVEN = "name a token's file with --token-file"
_UNKNOWN = "is it the token that http.auth of the daemon's configuration knows?"
_NOT_ALLOWED = (
    "http.auth of the daemon's configuration has to name a token with the scope that this needs, sync or admin; "
    "name its file with --token-file"
)
_UNTRUSTED = (
    "name the authority of the daemon's certificate with --ca-file or CDC_DAEMON_CA_FILE, and with --url or "
    "CDC_DAEMON_URL an address that is in the certificate, such as https://localhost:9808"
)
_UNREACHABLE = "is it running, is --url right, and does it have the port's scheme, http or https?"

_TOLD_EVERY = 10.0
"""Seconds after which a client that still waits reports it again."""


class DaemonClient:
    """Sends requests to one daemon. `patience` is how many seconds a request may take in all, waiting included.

    `on_wait` is called with the reason when the client begins to wait for a daemon that is away or busy, and every ten
    seconds from then on.

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
            raise ConfigError(f"expected certificates in PEM form, found {error}", file=str(ca_file)) from None

    def ask(self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None) -> Any:
        """Send a request, again while the server is away or busy, and return its answer's JSON.

        Raises `CdcError` when it is refused, when the server's certificate is not trusted, or when it stays away.
        """
        until = time.monotonic() + self._patience
        told = -math.inf
        while True:
            left = max(until - time.monotonic(), _SHORTEST)
            status, pause, answer = self._send(method, path, body, headers or {}, min(self._timeout, left))
            if 200 <= status < 300:
                return answer
            if (status not in _BUSY and status != 0) or time.monotonic() + pause > until:
                raise _refused(status, answer, with_token=self._token is not None)
            if time.monotonic() >= told + _TOLD_EVERY:
                told = time.monotonic()
                reason = f"it answered {status}" if status else str(answer)
                self._on_wait(f"waiting for the daemon at {self._url}: {reason}")
            time.sleep(pause)

    def _send(
        self, method: str, path: str, body: Any, headers: Mapping[str, str], timeout: float
    ) -> tuple[int, float, Any]:
        """Return the status (0 without an answer), how long to pause, and the answer's JSON or what went wrong."""
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
                    f"expected a certificate that is trusted, found: {reason.verify_message}",
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
    # What is asked for is wrong then, as a command line or a configuration is.
    error = ConfigError if status == 400 else CdcError
    return error(f"the daemon answered {status}: {message or 'without a reason'}", hint=hint)
