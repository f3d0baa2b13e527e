"""The public keys that verify tokens (JWKS, RFC 7517), from a file or a URL."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import aiohttp
import jwt
import orjson
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from cdc_daemon.model.errors import CdcError, ConfigError
from cdc_http.watched_file import WatchedFile

log = structlog.get_logger(__name__)

REFRESH_SECONDS = 600.0
"""Seconds for which fetched keys are used. It limits for how long a withdrawn key is still accepted."""

RETRY_SECONDS = 10.0
"""Minimum number of seconds between two fetches, whatever tokens arrive."""

_TIMEOUT = aiohttp.ClientTimeout(total=5.0)
_LARGEST = 1 << 20


SHORTEST_RSA = 2048
"""Bits of an RSA key (RFC 7518, 3.3)."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class KeysUnavailableError(CdcError):
    """The keys that verify tokens are unavailable."""

    retryable = True


class KeySet(Protocol):
    """Finds keys by their ids."""

    async def find(self, kid: str | None) -> Sequence[Any]:
        """Return the keys with this id, all keys when the token names none. Raises `KeysUnavailableError`."""
        ...


class KeySetFile:
    """Keys in a file; the file is read again when it changes."""

    def __init__(self, path: Path) -> None:
        self._file = WatchedFile(path)
        self._file.require("a set of keys")
        self._seen: bytes | None = None
        self._keys: Mapping[str | None, Sequence[Any]] = {}
        try:
            self._load()
        except ValueError as error:
            raise ConfigError(f"expected a set of keys (JWKS), found {error}", file=str(path)) from None

    async def find(self, kid: str | None) -> Sequence[Any]:
        """Return the keys with this id, all keys when the token names none. Raises `KeysUnavailableError`."""
        try:
            self._load()
        except ValueError as error:
            raise KeysUnavailableError(f"the set of keys cannot be read: {error}") from None
        return _named(self._keys, kid)

    def _load(self) -> None:
        content = self._file.content()
        if content is None:
            raise ValueError("no file")
        if content != self._seen:
            self._keys = parse_keys(content)
            self._seen = content


class KeySetUrl:
    """Keys from a URL, fetched again when they are old and for an id that is not known yet.

    At most one fetch is in flight. A caller waits for it only when its key is unknown, or when the keys are old and
    the last fetch succeeded. PyJWT's `PyJWKClient` is not used: it blocks the event loop, reads answers of any size,
    follows redirects, fetches for each unknown id, and drops its keys while the URL is unavailable.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._keys: Mapping[str | None, Sequence[Any]] = {}
        self._loaded = float("-inf")
        self._last_fetch = float("-inf")
        self._failed = False
        self._fetch: asyncio.Task[None] | None = None

    async def find(self, kid: str | None) -> Sequence[Any]:
        """Return the keys with this id, all keys when the token names none. Raises `KeysUnavailableError`."""
        known, now = _named(self._keys, kid), time.monotonic()
        if not known or now - self._loaded > REFRESH_SECONDS:
            if self._fetch is None and now - self._last_fetch > RETRY_SECONDS:
                self._last_fetch = now
                self._fetch = asyncio.create_task(self._load(), name="http-keys")
            if self._fetch is not None and not (known and self._failed):
                await asyncio.shield(self._fetch)
        found = _named(self._keys, kid)
        # The signer may have added a key with this id since the last fetch.
        if not found and (self._failed or not self._keys):
            raise KeysUnavailableError("the keys that verify tokens are unavailable")
        return found

    async def _load(self) -> None:
        try:
            async with (
                aiohttp.ClientSession(timeout=_TIMEOUT) as session,
                session.get(self._url, allow_redirects=False, raise_for_status=True) as answer,
            ):
                content = await _read(answer)
            self._keys = parse_keys(content)
            self._loaded = time.monotonic()
            self._failed = False
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # The previous keys stay in use: callers are not locked out while the URL is unavailable.
            self._failed = True
            log.warning("http.keys_unavailable", url=_without_secrets(self._url), error=type(error).__name__)
        finally:
            self._fetch = None


def _without_secrets(url: str) -> str:
    """Return a URL without the parts that may hold a secret: login, query and fragment."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    """Return the complete answer. Raises ValueError when it is too large."""
    content = bytearray()
    # One read returns what has arrived so far, perhaps only a part.
    while piece := await answer.content.read(_LARGEST):
        content += piece
        if len(content) > _LARGEST:
            raise ValueError(f"more than {_LARGEST} bytes")
    return bytes(content)


def parse_keys(content: bytes) -> Mapping[str | None, Sequence[Any]]:
    """Return the verifying keys of a set by their ids. Raises ValueError when it has none.

    Shared secrets, keys for encryption and RSA keys of fewer than 2,048 bits are left out.
    """
    try:
        listed = orjson.loads(content.removeprefix(_BYTE_ORDER_MARK))["keys"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise ValueError("no JSON with keys") from None
    found: dict[str | None, list[Any]] = {}
    short = 0
    for data in listed if isinstance(listed, list) else []:
        if not isinstance(data, dict) or data.get("use", "sig") != "sig" or data.get("kty") not in ("RSA", "EC", "OKP"):
            continue
        try:
            key = jwt.PyJWK(data)
            if isinstance(key.key, RSAPublicKey) and key.key.key_size < SHORTEST_RSA:
                log.warning("http.key_too_short", kid=key.key_id, bits=key.key.key_size, expected=SHORTEST_RSA)
                short += 1
            else:
                found.setdefault(key.key_id, []).append(key.key)
        except (jwt.PyJWTError, TypeError):
            # TypeError: a member that should be a text is none. The other keys of the set can still be used.
            continue
    if not found:
        raise ValueError(f"only RSA keys of fewer than {SHORTEST_RSA:,} bits" if short else _NONE)
    return found


_NONE = "no key that verifies signatures"


def _named(keys: Mapping[str | None, Sequence[Any]], kid: str | None) -> Sequence[Any]:
    if kid is not None:
        return keys.get(kid, ())
    return [key for several in keys.values() for key in several]
