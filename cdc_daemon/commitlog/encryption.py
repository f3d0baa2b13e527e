"""Encrypted segments: the supported ciphers, and the decryption of one section's blocks.

A section is a chain of blocks (`EncryptionUtils.encryptAndWrite`): the length of the cipher text and that of
the plain text as ints, then the cipher text. Each block is encrypted separately with the header's vector. Its
plain text is an int, the length of the rest, and a block of `LZ4Compressor` (`EncryptionContext` supports no other
compressor).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from cdc_daemon.commitlog.compression import decompress
from cdc_daemon.model.errors import ConfigError, DamagedSegmentError, UnsupportedSegmentError

CIPHERS: Final[Mapping[str, int]] = {"AES/CBC/PKCS5PADDING": 16}
"""JCE transformations, in upper case as JCE ignores case, with the length of their vector in bytes."""

_BLOCK_HEADER: Final = struct.Struct(">II")
_INT: Final = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class EncryptionHeader:
    """How a segment is encrypted: a JCE transformation, the key's alias in the keystore, the vector."""

    cipher: str
    key_alias: str
    iv: bytes


class Keyring(Protocol):
    """A source of secret keys."""

    def key(self, alias: str, /) -> bytes:
        """Return the secret key of this alias; raise `ConfigError` when there is none.

        A key is never logged and never part of an error.
        """
        ...


class Decryptor:
    """Decrypts the sections of one segment.

    Raises `UnsupportedSegmentError` when `keyring` has no such key, or one that the segment's cipher cannot use.
    """

    def __init__(self, header: EncryptionHeader, keyring: Keyring, *, segment: str) -> None:
        try:
            key = keyring.key(header.key_alias)
        except ConfigError as error:
            # Only this segment needs the key: others may have been written with another key, or none.
            where = {**error.where, "segment": segment}
            raise UnsupportedSegmentError(error.message, hint=error.hint, **where) from error
        if len(key) * 8 not in AES.key_sizes:
            raise UnsupportedSegmentError(
                f"expected an AES key of 128, 192 or 256 bits for alias {header.key_alias!r}, found {len(key) * 8}",
                segment=segment,
            )
        self._cipher = Cipher(AES(key), CBC(header.iv))

    def decrypt(self, stored: bytes, length: int) -> bytes:
        """Decrypt the blocks in `stored` to a plain section of `length` bytes.

        Raises `DamagedSegmentError`, without a position, when that fails.
        """
        found = []
        position = 0
        while position < len(stored):
            begin = position + _BLOCK_HEADER.size
            if begin > len(stored):
                raise DamagedSegmentError("expected an encrypted block, found the end of the section")
            cipher_length, plain_length = _BLOCK_HEADER.unpack_from(stored, position)
            position = begin + cipher_length
            if position > len(stored):
                raise DamagedSegmentError(
                    f"expected an encrypted block of {cipher_length} bytes, found {len(stored) - begin}"
                )
            found.append(self._block(stored[begin:position], plain_length))
        plain = b"".join(found)
        if len(plain) != length:
            raise DamagedSegmentError(f"expected a section of {length} bytes, found {len(plain)}")
        return plain

    def _block(self, cipher_text: bytes, plain_length: int) -> bytes:
        decryptor = self._cipher.decryptor()
        unpadder = padding.PKCS7(AES.block_size).unpadder()
        try:
            padded = decryptor.update(cipher_text) + decryptor.finalize()
            plain = unpadder.update(padded) + unpadder.finalize()
        except ValueError as error:
            raise DamagedSegmentError(
                "expected a block that the key decrypts, found another",
                hint="the keystore's key may not be the one that the segment was written with",
            ) from error
        if len(plain) != plain_length or plain_length < _INT.size:
            raise DamagedSegmentError(f"expected a block of {plain_length} bytes, found {len(plain)}")
        (length,) = _INT.unpack_from(plain)
        return decompress("LZ4Compressor", plain[_INT.size :], length)
