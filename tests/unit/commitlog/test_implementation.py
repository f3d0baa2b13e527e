from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.commitlog import implementation, keyscan
from cdc_daemon.commitlog.checksum import crc32
from cdc_daemon.commitlog.implementation import IMPLEMENTATION, VARIABLE, choose
from cdc_daemon.errors import ConfigError


@given(st.binary(max_size=400), st.integers(0, 0xFFFF_FFFF))
def test_checksum_is_that_of_zlib(data: bytes, value: int) -> None:
    assert crc32(data, value) == zlib.crc32(data, value)


def test_checksum_of_every_length() -> None:
    data = bytes(number * 7 & 0xFF for number in range(1100))
    assert [crc32(data[:size]) for size in range(1100)] == [zlib.crc32(data[:size]) for size in range(1100)]


def test_what_is_said_to_run_runs() -> None:
    assert (keyscan.scan_plain is not None) == IMPLEMENTATION.compiled


def test_python_can_always_be_had() -> None:
    assert str(choose("python")) == f"python ({VARIABLE}=python)"


def test_a_wrong_choice_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected CDC_DAEMON_COMMITLOG to be auto"):
        choose("fast")


def test_compiled_from_other_sources_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(implementation, "fingerprint", lambda: "others")
    assert not choose("auto").compiled
    with pytest.raises(ConfigError, match="expected compiled modules"):
        choose("compiled")
