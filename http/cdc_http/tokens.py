"""Configured bearer tokens."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from cdc_daemon.config.http import TokenSettings
from cdc_http.caller import Caller
from cdc_http.rotation import RotatedFile


class KnownTokens:
    """Identifies tokens by their hashes. Raises `ConfigError` for a token file that cannot be read."""

    def __init__(self, settings: Sequence[TokenSettings]) -> None:
        self._tokens = [_Known(each) for each in settings]

    async def find(self, token: str) -> Caller | None:
        """Return the token's owner. All known tokens are compared in full, so that the time reveals nothing."""
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        found: Caller | None = None
        for known in self._tokens:
            expected = known.digest()
            if expected is not None and hmac.compare_digest(expected, digest):
                found = known.caller
        return found


class _Known:
    def __init__(self, settings: TokenSettings) -> None:
        self.caller = Caller(settings.name, frozenset(settings.scopes))
        self._digest = None if settings.hash is None else bytes.fromhex(settings.hash.removeprefix("sha256:"))
        self._file = None if settings.file is None else RotatedFile(settings.file)
        if self._file is not None:
            self._file.require(f"the token of {settings.name}")

    def digest(self) -> bytes | None:
        if self._file is None:
            return self._digest
        token = (self._file.content() or b"").strip()
        return hashlib.sha256(token).digest() if token else None
