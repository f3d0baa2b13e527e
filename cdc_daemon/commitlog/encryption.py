"""Encrypted segments: which ciphers are read, and how one section's blocks are undone.

A section is a chain of blocks (`EncryptionUtils.encryptAndWrite`): the length of the cipher text and that of
the plain text as ints, then the cipher text. Each block is encrypted by itself with the header's vector; its
plain text is the length of what follows as an int and an LZ4 block of `LZ4Compressor` (`EncryptionContext`
knows no other).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

CIPHERS: Final[Mapping[str, int]] = {"AES/CBC/PKCS5PADDING": 16}
"""JCE transformations, upper case as JCE does not mind, with the length of their vector in bytes."""


@dataclass(frozen=True, slots=True)
class EncryptionHeader:
    """How a segment is encrypted: a JCE transformation, the key's alias in the keystore, the vector."""

    cipher: str
    key_alias: str
    iv: bytes


class Keyring(Protocol):
    """Where secret keys come from."""

    def key(self, alias: str, /) -> bytes:
        """The secret key of this alias; raises `CdcError` where there is none. Never logged, never in an error."""
        ...


class Decryptor:
    """Undoes the sections of one segment."""

    def __init__(self, header: EncryptionHeader, keyring: Keyring, *, segment: str) -> None:
        self._header = header
        self._key = keyring.key(header.key_alias)

    def undo(self, stored: bytes, length: int) -> bytes:
        raise NotImplementedError
