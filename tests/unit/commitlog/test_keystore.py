"""Keystores made by JDK 17's keytool, and other files."""

from __future__ import annotations

import hashlib
import struct
from contextlib import suppress

import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.serialization import pkcs12
from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.commitlog.keystore import Keystore, _derive, _salt_and_iterations
from cdc_daemon.commitlog.serialized import read_object
from cdc_daemon.model.errors import ConfigError
from tests.unit.commitlog.samples import DATA

STORE = (DATA / "keystore" / "keys.jceks").read_bytes()
FIRST = bytes.fromhex("f9e149e05b960f38be68f76c478472f4")
SECOND = bytes.fromhex("6476d55edfaf3683742bed07162db58810d78bb5ca5ed33dc2e065746baeffe6")
PASSWORD, KEY_PASSWORD = "secret12", "keypass1"


def test_keys_as_java_has_them() -> None:
    assert Keystore(STORE, PASSWORD, KEY_PASSWORD).key("MyKey") == FIRST
    store = Keystore(STORE, PASSWORD)
    assert store.key("second") == SECOND
    assert store.key("SECOND") == SECOND


def test_nothing_secret_shows() -> None:
    store = Keystore(STORE, PASSWORD)
    store.key("second")
    assert repr(store) == "Keystore(mykey, second)"


def test_a_wrong_password_of_the_store() -> None:
    with pytest.raises(ConfigError, match="password is wrong") as caught:
        Keystore(STORE, "wrong")
    assert "keystore_password" in str(caught.value.hint)


def test_a_wrong_password_of_the_key() -> None:
    with pytest.raises(ConfigError, match="password of key 'mykey' is wrong") as caught:
        Keystore(STORE, PASSWORD).key("mykey")
    assert PASSWORD not in str(caught.value)
    assert "key_password" in str(caught.value.hint)


@pytest.mark.parametrize("alias", ["nothing", "rsa", ""])
def test_an_alias_that_is_no_secret_key(alias: str) -> None:
    with pytest.raises(ConfigError, match="found mykey, second") as caught:
        Keystore(STORE, PASSWORD).key(alias)
    assert caught.value.hint


def test_other_kinds_of_keystores() -> None:
    for data, kind in ((b"\xfe\xed\xfe\xed" + bytes(40), "JKS"), (b"0\x82\x0a\x0b" + bytes(40), "another kind")):
        with pytest.raises(ConfigError, match=kind) as caught:
            Keystore(data, PASSWORD)
        assert "keytool" in str(caught.value.hint)


def test_a_pkcs12_keystore_is_named() -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    data = pkcs12.serialize_key_and_certificates(
        b"mykey", private, None, None, serialization.BestAvailableEncryption(b"changeit")
    )
    with pytest.raises(ConfigError, match="found a PKCS12 keystore") as caught:
        Keystore(data, "changeit")
    assert "-deststoretype JCEKS" in str(caught.value.hint)


@given(st.integers(0, len(STORE) - 1))
def test_every_truncation(length: int) -> None:
    with pytest.raises(ConfigError):
        Keystore(STORE[:length], PASSWORD)


@given(st.binary(max_size=200))
def test_any_bytes_are_no_object_or_one(data: bytes) -> None:
    for noise in (data, b"\xac\xed\x00\x05" + data, b"\xac\xed\x00\x05sr\x00\x01a" + data):
        with pytest.raises(ConfigError):
            read_object(noise)


@given(st.integers(4, 400), st.integers(1, 255))
def test_any_damage_to_a_sealed_key_is_an_object_or_an_error(at: int, flip: int) -> None:
    start = STORE.index(b"\xac\xed\x00\x05")
    data = bytearray(STORE[start : start + 500])
    data[at] ^= flip
    with suppress(ConfigError):
        read_object(bytes(data))


def test_keys_are_derived_as_jdk_17_derives_them() -> None:
    """Cipher texts of "hello" by `PBEWithMD5AndTripleDES`, two iterations; equal halves of a salt are special."""
    for salt, expected in ((b"abcdefgh", "a27e1769f8e79d7c"), (b"abcdabcd", "e99d8f717cedfbe7")):
        derived = _derive("p", salt, 2)
        encryptor = Cipher(TripleDES(derived[:24]), CBC(derived[24:])).encryptor()
        assert (encryptor.update(b"hello\3\3\3") + encryptor.finalize()).hex() == expected


def store(content: bytes) -> bytes:
    """A keystore's content with its checksum."""
    digest = hashlib.sha1(PASSWORD.encode("utf-16-be") + b"Mighty Aphrodite" + content, usedforsecurity=False)
    return content + digest.digest()


HEADER = struct.pack(">III", 0xCECECECE, 2, 1)
NAMED = struct.pack(">H", 1) + b"a" + bytes(8)


def test_certificates_are_passed_over() -> None:
    certificate = struct.pack(">H", 5) + b"X.509" + struct.pack(">I", 3) + b"abc"
    assert repr(Keystore(store(HEADER + struct.pack(">I", 2) + NAMED + certificate), PASSWORD)) == "Keystore()"
    old = struct.pack(">III", 0xCECECECE, 1, 1) + struct.pack(">I", 2) + NAMED + struct.pack(">I", 3) + b"abc"
    with pytest.raises(ConfigError, match="none at all"):
        Keystore(store(old), PASSWORD).key("a")


@pytest.mark.parametrize(
    "content",
    [
        HEADER + struct.pack(">I", 9) + NAMED,  # an entry of no known kind
        HEADER + struct.pack(">I", 3) + NAMED,  # no object
        HEADER + struct.pack(">I", 3) + NAMED + b"\xac\xed\0\5sr\0\1A" + bytes(8) + b"\2\0\0xp",  # nothing sealed
        HEADER[:6],
    ],
)
def test_stores_that_hold_something_else(content: bytes) -> None:
    with pytest.raises(ConfigError):
        Keystore(store(content), PASSWORD)


@pytest.mark.parametrize(
    "parameters",
    [b"", bytes(20), b"0\x0d\4\x08" + bytes(8) + b"\2\1\0", b"0\x10\4\x08" + bytes(8) + b"\2\4\x7f\xff\xff\xff"],
)
def test_parameters_of_a_seal(parameters: bytes) -> None:
    with pytest.raises(ConfigError):
        _salt_and_iterations(parameters)


def described(name: bytes, flags: int, fields: bytes, count: int) -> bytes:
    return b"r" + struct.pack(">H", len(name)) + name + bytes(8) + struct.pack(">BH", flags, count) + fields


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"t\0\1x", "another kind"),
        (b"s" + described(b"A", 3, b"", 0) + b"xp", "write themselves"),
        (b"s" + described(b"A", 2, b"Q\0\1f", 1) + b"xp", "field's type"),
        (b"s" + described(b"A", 2, b"", 0) + b"t\0\1x", "annotate"),
        (b"s" + described(b"A", 2, b"", 0) + b"xt\0\1x", "class description"),
        (b"st\0\1x", "class description"),
        (b"s" + described(b"A", 2, b"L\0\1ft\0\1x", 1) + b"xp" + b"u" + described(b"[I", 2, b"", 0) + b"xp", "bytes"),
        (b"\x01", "content of type"),
        (b"s" * 40, "nested too deep"),
    ],
)
def test_objects_that_no_keystore_has(content: bytes, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        read_object(b"\xac\xed\0\5" + content)


def test_an_object_with_fields_of_every_kind() -> None:
    fields = b"I\0\1iL\0\1et\0\1xL\0\1nq\0\x7e\0\1"
    content = b"s" + described(b"A", 2, fields, 3) + b"xp" + b"\0\0\0\7" + b"~" + described(b"E", 0x12, b"", 0) + b"xp"
    found, end = read_object(b"\xac\xed\0\5" + content + b"t\0\3ONE" + b"p")
    assert found.class_name == "A"
    assert found.fields == {"i": b"\0\0\0\7", "e": "ONE", "n": None}
    assert end == len(content) + 4 + 7
