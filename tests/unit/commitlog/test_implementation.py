from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zlib
from importlib.machinery import ExtensionFileLoader
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.commitlog import implementation, layout, native, update_decoder, vint
from cdc_daemon.commitlog.implementation import MODULES, PACKAGE, SOURCES, VARIABLE, choose
from cdc_daemon.commitlog.native import crc32
from cdc_daemon.model.errors import ConfigError


@given(st.binary(max_size=400), st.integers(0, 0xFFFF_FFFF))
def test_checksum_is_that_of_zlib(data: bytes, value: int) -> None:
    assert crc32(data, value) == zlib.crc32(data, value)


def test_checksum_of_every_length() -> None:
    data = bytes(number * 7 & 0xFF for number in range(1100))
    assert [crc32(data[:size]) for size in range(1100)] == [zlib.crc32(data[:size]) for size in range(1100)]


def test_what_is_said_to_run_runs() -> None:
    compiled = implementation.implementation().compiled
    assert (native.scan_plain is not None) == compiled
    for module in (layout, native, update_decoder, vint):
        assert isinstance(module.__loader__, ExtensionFileLoader) == compiled


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


def test_every_module_has_a_compiled_form() -> None:
    for module in MODULES:
        assert (SOURCES / f"{module}.py").exists(), "it runs without a compiler"
        assert (SOURCES / f"{module}.pyx").exists() or (SOURCES / f"{module}.pxd").exists()


@pytest.mark.parametrize(
    "source",
    [
        "building.py",
        "checksum.h",
        "layout.py",
        "native.pyx",
        "records.h",
        "update_decoder.pxd",
        "update_decoder.py",
        "vint.pxd",
    ],
)
def test_whatever_is_compiled_has_a_part_in_the_fingerprint(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in SOURCES.iterdir():
        if path.is_file():
            shutil.copy(path, tmp_path)
    before = implementation.fingerprint()
    monkeypatch.setattr(implementation, "SOURCES", tmp_path)
    assert implementation.fingerprint() == before
    with (tmp_path / source).open("a") as file:
        file.write("\n")
    assert implementation.fingerprint() != before


def test_what_is_not_compiled_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in SOURCES.iterdir():
        if path.is_file():
            shutil.copy(path, tmp_path)
    before = implementation.fingerprint()
    monkeypatch.setattr(implementation, "SOURCES", tmp_path)
    (tmp_path / "keystore.py").write_text("")
    assert implementation.fingerprint() == before


def _run(*arguments: str, choice: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, VARIABLE: choice},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_wrong_value_of_the_variable_is_a_configuration_error(tmp_path: Path) -> None:
    done = _run("-c", "from cdc_daemon.cli.main import main; main()", "segments", "list", str(tmp_path), choice="fast")
    assert done.returncode == 2
    assert "expected CDC_DAEMON_COMMITLOG to be auto, python or compiled, found 'fast'" in done.stderr
    assert "Traceback" not in done.stderr


def test_building_does_not_depend_on_the_variable() -> None:
    code = "from cdc_daemon.commitlog import building; building.up_to_date()"
    for choice in ("fast", "compiled"):
        assert _run("-c", code, choice=choice).returncode == 0


def test_the_modules_that_run_are_those_asked_for() -> None:
    code = f"import sys, {PACKAGE}.update_decoder as d; print(d.__loader__.__class__.__name__)"
    assert _run("-c", code, choice="python").stdout.strip() == "SourceFileLoader"
