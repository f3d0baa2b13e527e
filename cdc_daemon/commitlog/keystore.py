"""Secret keys from a JCEKS keystore, as `JKSKeyProvider` of Cassandra 4.0 to 5.0 reads them.

JCEKS (`com.sun.crypto.provider.JceKeyStore`): a magic number, a version, a count of entries, the entries, and
a SHA-1 over password and all. A secret key is a serialized `SealedObject`, encrypted with
PBEWithMD5AndTripleDES under the key's password. Its content is a serialized `SecretKeySpec`.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from typing import Final

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.modes import CBC

from cdc_daemon.commitlog.serialized import read_object
from cdc_daemon.model.errors import ConfigError

_JCEKS: Final = 0xCECECECE
_JKS: Final = 0xFEEDFEED
_PKCS7_DATA: Final = bytes.fromhex("06092a864886f70d0107")
"""The object identifier at the start of a PKCS12 file, without its last number (RFC 7292, section 4)."""
_PRIVATE_KEY: Final = 1
_CERTIFICATE: Final = 2
_SECRET_KEY: Final = 3
_DIGEST_SIZE: Final = 20
_MOST_ITERATIONS: Final = 5_000_000
"""The JDK's own maximum (`jdk.jceks.iterationCount`)."""


class Keystore:
    """The secret keys of one JCEKS keystore. It is a `Keyring`: pass it to `SectionReader`.

    `data` is the keystore file's content. A key is decrypted only when requested, with `key_password` or, without
    one, with `password`. Raises `ConfigError` for another kind of file and for a wrong password.
    """

    def __init__(self, data: bytes, password: str, key_password: str | None = None) -> None:
        self._key_password = key_password or password
        self._keys: dict[str, bytes] = {}
        try:
            self._sealed = _read(data, password)
        except (struct.error, IndexError, UnicodeDecodeError) as error:
            raise ConfigError("expected a whole JCEKS keystore, found part of one") from error

    def __repr__(self) -> str:
        return f"Keystore({', '.join(sorted(self._sealed))})"

    def key(self, alias: str, /) -> bytes:
        """Return the secret key of this alias; raise `ConfigError` when there is none or it cannot be decrypted."""
        name = alias.lower()  # JCEKS stores aliases in lower case, and so does JKSKeyProvider
        if name not in self._keys:
            if name not in self._sealed:
                raise ConfigError(
                    f"expected a secret key with alias {alias!r} in the keystore, found"
                    f" {', '.join(sorted(self._sealed)) or 'none at all'}",
                    hint="give the keystore that the node has in transparent_data_encryption_options, with each key "
                    "that it still has segments of",
                )
            self._keys[name] = _unseal(self._sealed[name], self._key_password, alias)
        return self._keys[name]


def _kind_of(data: bytes, magic: int) -> str:
    if magic == _JKS:
        return "a JKS keystore, which cannot hold secret keys"
    return "a PKCS12 keystore" if data[:1] == b"\x30" and _PKCS7_DATA in data[:64] else "another kind of file"


def _read(data: bytes, password: str) -> dict[str, tuple[bytes, bytes]]:
    """Return the sealed secret keys by alias: salt and iteration count in DER, cipher text."""
    (magic,) = struct.unpack_from(">I", data)
    if magic != _JCEKS:
        raise ConfigError(
            f"expected a JCEKS keystore, found {_kind_of(data, magic)}",
            hint="convert a copy: keytool -importkeystore -srckeystore FILE -destkeystore FILE.jceks "
            "-deststoretype JCEKS",
        )
    content, digest = data[:-_DIGEST_SIZE], data[-_DIGEST_SIZE:]
    expected = hashlib.sha1(
        password.encode("utf-16-be", "surrogatepass") + b"Mighty Aphrodite" + content, usedforsecurity=False
    ).digest()
    if not hmac.compare_digest(expected, digest):
        raise ConfigError(
            "the keystore's password is wrong, or the file is damaged",
            hint="correct commit_log.keystore_password: keystore_password in cassandra.yaml's "
            "transparent_data_encryption_options",
        )
    version, count = struct.unpack_from(">II", content, 4)
    found = {}
    position = 12
    for _ in range(count):
        (tag,) = struct.unpack_from(">I", content, position)
        alias, position = _text(content, position + 4)
        position += 8  # the creation date
        if tag == _SECRET_KEY:
            sealed, position = read_object(content, position)
            parameters, encrypted = sealed.fields.get("encodedParams"), sealed.fields.get("encryptedContent")
            algorithm = sealed.fields.get("sealAlg")
            if algorithm != "PBEWithMD5AndTripleDES" or not (
                isinstance(parameters, bytes) and parameters and isinstance(encrypted, bytes) and encrypted
            ):
                raise ConfigError(f"expected a key sealed by PBEWithMD5AndTripleDES, found {algorithm}")
            found[alias] = parameters, encrypted
        elif tag == _PRIVATE_KEY:
            position = _skip_bytes(content, position)
            (chain,) = struct.unpack_from(">I", content, position)
            position += 4
            for _ in range(chain):
                position = _skip_certificate(content, position, version)
        elif tag == _CERTIFICATE:
            position = _skip_certificate(content, position, version)
        else:
            raise ConfigError(f"expected an entry of a JCEKS keystore, found one with tag {tag}")
    return found


def _text(data: bytes, position: int) -> tuple[str, int]:
    (length,) = struct.unpack_from(">H", data, position)
    end = position + 2 + length
    return data[position + 2 : end].decode("utf-8"), end


def _skip_bytes(data: bytes, position: int) -> int:
    (length,) = struct.unpack_from(">I", data, position)
    return position + 4 + int(length)


def _skip_certificate(data: bytes, position: int, version: int) -> int:
    if version > 1:
        _, position = _text(data, position)
    return _skip_bytes(data, position)


def _unseal(sealed: tuple[bytes, bytes], password: str, alias: str) -> bytes:
    parameters, encrypted = sealed
    salt, iterations = _salt_and_iterations(parameters)
    derived = _derive(password, salt, iterations)
    decryptor = Cipher(TripleDES(derived[:24]), CBC(derived[24:])).decryptor()
    unpadder = padding.PKCS7(TripleDES.block_size).unpadder()
    try:
        padded = decryptor.update(encrypted) + decryptor.finalize()
        plain = unpadder.update(padded) + unpadder.finalize()
        found, _ = read_object(plain)
    except (ValueError, ConfigError) as error:
        raise ConfigError(
            f"the password of key {alias!r} is wrong",
            hint="correct commit_log.key_password: key_password in cassandra.yaml's "
            "transparent_data_encryption_options",
        ) from error
    for name in ("key", "encoded"):  # SecretKeySpec, KeyRep
        key = found.fields.get(name)
        if isinstance(key, bytes):
            return key
    raise ConfigError(f"expected key {alias!r} to be a secret key, found a {found.class_name}")


def _salt_and_iterations(parameters: bytes) -> tuple[bytes, int]:
    """Read `SEQUENCE { salt OCTET STRING (8), iterations INTEGER }`."""
    if len(parameters) < 15 or parameters[0] != 0x30 or parameters[2:4] != b"\x04\x08" or parameters[12] != 2:
        raise ConfigError("expected a salt and an iteration count with the sealed key")
    length = parameters[13]
    iterations = int.from_bytes(parameters[14 : 14 + length], "big")
    if not 0 < iterations <= _MOST_ITERATIONS:
        raise ConfigError(f"expected at most {_MOST_ITERATIONS} iterations, found {iterations}")
    return parameters[4:12], iterations


def _derive(password: str, salt: bytes, iterations: int) -> bytes:
    """Derive the key (24 bytes) and vector (8 bytes) as `com.sun.crypto.provider.PBES1Core` does."""
    secret = bytes(ord(character) & 0x7F for character in password)
    halves = [salt[:4], salt[4:]]
    if halves[0] == halves[1]:
        halves[0] = halves[0][::-1]
    derived = b""
    for half in halves:
        digest = half
        for _ in range(iterations):
            digest = hashlib.md5(digest + secret, usedforsecurity=False).digest()
        derived += digest
    return derived
