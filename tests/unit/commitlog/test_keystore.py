"""Keystores made by JDK 17's keytool, and what is none."""

from __future__ import annotations

from contextlib import suppress

import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.modes import CBC
from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.commitlog.keystore import Keystore, _derive
from cdc_daemon.commitlog.serialized import read_object
from cdc_daemon.errors import ConfigError
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
    with pytest.raises(ConfigError, match="password is wrong"):
        Keystore(STORE, "wrong")


def test_a_wrong_password_of_the_key() -> None:
    with pytest.raises(ConfigError, match="password of key 'mykey' is wrong") as caught:
        Keystore(STORE, PASSWORD).key("mykey")
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("alias", ["nothing", "rsa", ""])
def test_an_alias_that_is_no_secret_key(alias: str) -> None:
    with pytest.raises(ConfigError, match="found mykey, second"):
        Keystore(STORE, PASSWORD).key(alias)


def test_other_kinds_of_keystores() -> None:
    for data, kind in ((b"\xfe\xed\xfe\xed" + bytes(40), "JKS"), (b"0\x82\x0a\x0b" + bytes(40), "another kind")):
        with pytest.raises(ConfigError, match=kind) as caught:
            Keystore(data, PASSWORD)
        assert "keytool" in str(caught.value.hint)


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
