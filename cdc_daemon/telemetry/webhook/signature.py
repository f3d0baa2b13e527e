"""The signature of an event, by the Standard Webhooks specification, for which many languages have a library.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping

_PREFIX = "whsec_"


def sign(secret: str, identity: str, timestamp: int, body: bytes) -> Mapping[str, str]:
    """Return the headers of an event: its id, the time (seconds since epoch), and the signature of all of it."""
    content = f"{identity}.{timestamp}.".encode() + body
    digest = hmac.new(_key(secret), content, hashlib.sha256).digest()
    return {
        "webhook-id": identity,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def _key(secret: str) -> bytes:
    """Return the bytes of a secret: those of its base64 after `whsec_`, else those of its text."""
    if secret.startswith(_PREFIX):
        try:
            return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        except binascii.Error:
            pass
    return secret.encode()
