"""The public keys of those who sign tokens (JWKS, RFC 7517), from a file or from where they are published."""

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
from cdc_http.rotation import RotatedFile

log = structlog.get_logger(__name__)

REFRESH_SECONDS = 600.0
"""How long published keys are believed, so that one that was withdrawn is not taken for long."""

RETRY_SECONDS = 10.0
"""The least time between two questions, whatever tokens come."""

_TIMEOUT = aiohttp.ClientTimeout(total=5.0)
_LARGEST = 1 << 20


SHORTEST_RSA = 2048
"""Bits of an RSA key (RFC 7518, 3.3)."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class KeysUnavailableError(CdcError):
    """The signers' keys cannot be had now."""

    retryable = True


class KeySource(Protocol):
    """Knows keys by their names."""

    async def find(self, kid: str | None) -> Sequence[Any]:
        """Return the keys of this name, all of them where a token names none. Raises `KeysUnavailableError`."""
        ...


class StoredKeys:
    """Keys in a file, which is read again when it changes."""

    def __init__(self, path: Path) -> None:
        self._file = RotatedFile(path)
        self._file.require("a set of keys")
        self._seen: bytes | None = None
        self._keys: Mapping[str | None, Sequence[Any]] = {}
        try:
            self._load()
        except ValueError as error:
            raise ConfigError(f"expected a set of keys (JWKS), found {error}", file=str(path)) from None

    async def find(self, kid: str | None) -> Sequence[Any]:
        """Return the keys of this name, all of them where a token names none. Raises `KeysUnavailableError`."""
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


class PublishedKeys:
    """Keys behind a URL: asked for again when they are old, and for a name that is not known yet.

    At most one question is under way, and only those wait for it who need its answer: for a name that is not known, or
    because what is known is old and could still be had the last time.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._keys: Mapping[str | None, Sequence[Any]] = {}
        self._loaded = float("-inf")
        self._asked = float("-inf")
        self._away = False
        self._loading: asyncio.Task[None] | None = None

    async def find(self, kid: str | None) -> Sequence[Any]:
        """Return the keys of this name, all of them where a token names none. Raises `KeysUnavailableError`."""
        known, now = _named(self._keys, kid), time.monotonic()
        if not known or now - self._loaded > REFRESH_SECONDS:
            if self._loading is None and now - self._asked > RETRY_SECONDS:
                self._asked = now
                self._loading = asyncio.create_task(self._load(), name="http-keys")
            if self._loading is not None and not (known and self._away):
                await asyncio.shield(self._loading)
        found = _named(self._keys, kid)
        # The signer may have made a key of this name since its keys were last read.
        if not found and (self._away or not self._keys):
            raise KeysUnavailableError("the signers' keys cannot be had")
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
            self._away = False
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # Keys that were had before go on: a signer that is away for a while locks nobody out.
            self._away = True
            log.warning("http.keys_unavailable", url=_without_secrets(self._url), error=type(error).__name__)
        finally:
            self._loading = None


def _without_secrets(url: str) -> str:
    """Return a URL without what may hold a secret in it: login, query and fragment."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    """Return the whole of an answer. Raises ValueError where there is too much."""
    content = bytearray()
    # One read gives what has come by then: perhaps a piece only.
    while piece := await answer.content.read(_LARGEST):
        content += piece
        if len(content) > _LARGEST:
            raise ValueError(f"more than {_LARGEST} bytes")
    return bytes(content)


def parse_keys(content: bytes) -> Mapping[str | None, Sequence[Any]]:
    """Return the verifying keys of a set by their names. Raises ValueError when there is none in it.

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
            # TypeError: a member that should be a text is none. The other keys of the set are as good as before.
            continue
    if not found:
        raise ValueError(f"only RSA keys of fewer than {SHORTEST_RSA:,} bits" if short else _NONE)
    return found


_NONE = "no key that verifies signatures"


def _named(keys: Mapping[str | None, Sequence[Any]], kid: str | None) -> Sequence[Any]:
    if kid is not None:
        return keys.get(kid, ())
    return [key for several in keys.values() for key in several]
