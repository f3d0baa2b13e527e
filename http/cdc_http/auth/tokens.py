"""Bearer tokens: configured ones, and JSON Web Tokens (RFC 7519) of an external issuer."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jwt

from cdc_daemon.config.http import JwtSettings, Scope, TokenSettings
from cdc_http.auth.key_set import KeySet, KeySetFile, KeySetUrl, KeysUnavailableError
from cdc_http.watched_file import WatchedFile


class Caller(NamedTuple):
    """A caller with a known token: the name for the log, and the allowed scopes."""

    name: str
    scopes: frozenset[Scope]


class ConfiguredTokens:
    """Identifies tokens by their hashes. Raises `ConfigError` for a token file that cannot be read."""

    def __init__(self, settings: Sequence[TokenSettings]) -> None:
        self._tokens = [_ConfiguredToken(each) for each in settings]

    async def find(self, token: str) -> Caller | None:
        """Return the token's owner. All known tokens are compared in full, so the response time reveals nothing."""
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        found: Caller | None = None
        for known in self._tokens:
            expected = known.digest()
            if expected is not None and hmac.compare_digest(expected, digest):
                found = known.caller
        return found


class _ConfiguredToken:
    def __init__(self, settings: TokenSettings) -> None:
        self.caller = Caller(settings.name, frozenset(settings.scopes))
        self._digest = None if settings.hash is None else bytes.fromhex(settings.hash.removeprefix("sha256:"))
        self._file = None if settings.file is None else WatchedFile(settings.file)
        if self._file is not None:
            self._file.require(f"the token of {settings.name}")

    def digest(self) -> bytes | None:
        if self._file is None:
            return self._digest
        token = (self._file.content() or b"").strip()
        return hashlib.sha256(token).digest() if token else None


__all__ = ["JsonWebTokens", "KeysUnavailableError"]

LONGEST = 16 * 1024
"""Length limit of a token, in characters; longer ones are refused."""

_LONGEST_SUBJECT = 128


class JsonWebTokens:
    """Identifies callers by tokens of an external issuer. A token without an expiry is refused.

    Raises `ConfigError` for a key set that cannot be read.
    """

    def __init__(self, settings: JwtSettings) -> None:
        self._settings = settings
        self._secret = None if settings.secret is None else settings.secret.get_secret_value().encode()
        self._keys: KeySet | None = None
        if settings.key_set_file is not None:
            self._keys = KeySetFile(settings.key_set_file)
        elif settings.key_set_url is not None:
            self._keys = KeySetUrl(settings.key_set_url)

    async def find(self, token: str) -> Caller | None:
        """Return the token's owner, None when it is invalid, expired or for others. Raises `KeysUnavailableError`."""
        if len(token) > LONGEST:
            return None
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            return None
        if header.get("alg") not in self._settings.algorithms:
            return None
        for key in await self._candidates(header.get("kid")):
            claims = self._verify(token, key)
            if claims is not None:
                return Caller(_subject(claims), self._scopes(claims))
        return None

    async def _candidates(self, kid: Any) -> Sequence[Any]:
        if self._keys is None:
            return [self._secret]
        return await self._keys.find(kid if isinstance(kid, str) else None)

    def _verify(self, token: str, key: Any) -> Mapping[str, Any] | None:
        try:
            return jwt.decode(
                token,
                key,
                algorithms=list(self._settings.algorithms),
                issuer=self._settings.issuer,
                audience=self._settings.audience,
                leeway=self._settings.leeway,
                options={"require": ["exp"], "verify_aud": self._settings.audience is not None},
            )
        except (jwt.PyJWTError, TypeError, ValueError):
            # TypeError: the key is of another kind than the algorithm requires.
            return None

    def _scopes(self, claims: Mapping[str, Any]) -> frozenset[Scope]:
        scopes: set[Scope] = set()
        if _has(claims, self._settings.claims):
            scopes.add("sync")
        if self._settings.admin_claims is not None and _has(claims, self._settings.admin_claims):
            scopes.add("admin")
        return frozenset(scopes)


def _subject(claims: Mapping[str, Any]) -> str:
    subject = claims.get("sub")
    return subject[:_LONGEST_SUBJECT] if isinstance(subject, str) else "a signed token"


def _has(claims: Mapping[str, Any], wanted: Mapping[str, Sequence[str]]) -> bool:
    return all(_values(claims.get(name)) & set(allowed) for name, allowed in wanted.items())


def _values(claim: Any) -> set[str]:
    """Return the values of a claim: a text, a list of texts, or texts separated by spaces as in `scope`."""
    if isinstance(claim, str):
        return {claim, *claim.split()}
    return {value for value in claim if isinstance(value, str)} if isinstance(claim, list) else set()
