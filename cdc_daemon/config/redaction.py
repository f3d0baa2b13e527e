"""Redaction: which values are secrets, and their replacement by stars."""

from __future__ import annotations

import re
from collections.abc import Mapping

STARS = "**********"
"""The replacement for a secret, which is also that of pydantic's SecretStr."""

_SECRET_NAME = re.compile(
    r"passw(or)?d|passphrase|secret|token$|api_?key|authori[sz]ation|credential|cookie", re.IGNORECASE
)
_URL_LOGIN = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_URL_PARAMETER = re.compile(r"(?<=[?&])([^=&#\s]+)=[^&#\s]+")


def is_secret_name(name: str) -> bool:
    """Whether a value of this name is probably a secret."""
    return _SECRET_NAME.search(name) is not None


def redact(value: object, name: str | None = None) -> object:
    """Return a copy of a value in which everything that looks like a secret is replaced by stars, also inside URLs."""
    if name is not None and is_secret_name(name) and not isinstance(value, int | float | None):
        return STARS  # a number is not a secret: the tokens of Cassandra's ring are numbers
    if isinstance(value, str):
        return _redact_urls(value) if "://" in value else value
    if isinstance(value, Mapping):
        return {key: redact(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [redact(inner) for inner in value]
    return value


def _redact_urls(text: str) -> str:
    shown = _URL_LOGIN.sub(STARS, text)
    return _URL_PARAMETER.sub(lambda found: f"{found[1]}={STARS}" if is_secret_name(found[1]) else found[0], shown)
