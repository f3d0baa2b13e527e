"""The signature of a question and of its answer: it proves that the sender has the shared token, without sending it."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Final, NamedTuple

NONCE_HEADER: Final = "cdc-nonce"
DIGEST_HEADER: Final = "cdc-digest"
SIGNATURE_HEADER: Final = "cdc-signature"

_PURPOSE: Final = b"cdc-daemon peers 1"
"""Keeps these signatures apart from those of any other use of the token, and of a later version of this protocol."""


class SignedHead(NamedTuple):
    """The headers of a question or of an answer."""

    nonce: str
    digest: str
    signature: str

    @property
    def headers(self) -> dict[str, str]:
        """The head as HTTP headers."""
        return {NONCE_HEADER: self.nonce, DIGEST_HEADER: self.digest, SIGNATURE_HEADER: self.signature}


class PeerSignature:
    """Signs and checks questions and answers with HMAC-SHA-256 and a key that is made of the token.

    A signature covers the name of the question, its nonce and the digest of the body, so the head alone shows whether
    the sender has the token, before a body is read. That of an answer covers the question's nonce, so an answer that
    was recorded earlier is not accepted. A recorded question may be sent again: questions change nothing.
    """

    def __init__(self, token: str) -> None:
        self._key = hmac.digest(token.encode(), _PURPOSE, "sha256")

    def question(self, name: str, body: bytes) -> SignedHead:
        """Return the head of a new question."""
        return self._signed("question", name, secrets.token_hex(16), _digest(body))

    def answer(self, name: str, nonce: str, body: bytes) -> SignedHead:
        """Return the head of the answer to the question with this nonce."""
        return self._signed("answer", name, nonce, _digest(body))

    def is_question(self, name: str, head: SignedHead) -> bool:
        """Return whether the head of a question was signed with the token."""
        return self._matches("question", name, head)

    def is_answer(self, name: str, question: SignedHead, head: SignedHead, body: bytes) -> bool:
        """Return whether an answer belongs to a question, and was signed with the token as it is."""
        return head.nonce == question.nonce and self._matches("answer", name, head) and covers(head, body)

    def _signed(self, kind: str, name: str, nonce: str, digest: str) -> SignedHead:
        text = f"{kind}\n{name}\n{nonce}\n{digest}".encode()
        return SignedHead(nonce, digest, hmac.new(self._key, text, "sha256").hexdigest())

    def _matches(self, kind: str, name: str, head: SignedHead) -> bool:
        expected = self._signed(kind, name, head.nonce, head.digest).signature
        return hmac.compare_digest(expected.encode(), head.signature.encode())


def covers(head: SignedHead, body: bytes) -> bool:
    """Return whether the digest in a head is that of a body."""
    return hmac.compare_digest(_digest(body).encode(), head.digest.encode())


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
