"""A program inside a wheel, fetched by the real pip from a folder."""

from __future__ import annotations

import hashlib
import io
import platform
import tarfile
import zipfile
from pathlib import Path

import pytest

from sandbox.errors import SandboxError
from sandbox.wheels import KUBECTL, WheelProgram, find_wheel_program, member

WAY = ("holder/inner.tgz", "package/lib/layer.zip", "bin/tool")
SCRIPT = b"#!/bin/sh\necho tool\n"


def nested() -> bytes:
    layer = io.BytesIO()
    with zipfile.ZipFile(layer, "w") as zipped:
        zipped.writestr("bin/tool", SCRIPT)
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as tarred:
        info = tarfile.TarInfo("package/lib/layer.zip")
        info.size = len(layer.getvalue())
        tarred.addfile(info, io.BytesIO(layer.getvalue()))
    return inner.getvalue()


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel in a folder that stands for the registry."""
    folder = tmp_path / "registry"
    folder.mkdir()
    path = folder / "holder-2.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as zipped:
        zipped.writestr("holder/inner.tgz", nested())
        zipped.writestr("holder-2.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: holder\nVersion: 2.0\n")
        zipped.writestr("holder-2.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        zipped.writestr("holder-2.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("CDC_DAEMON_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    return path


def wanted(sha256: str) -> WheelProgram:
    return WheelProgram("tool", "1.5", "holder==2.0", sha256, WAY)


def test_the_program_is_taken_out_once(wheel: Path, tmp_path: Path) -> None:
    program = wanted(hashlib.sha256(wheel.read_bytes()).hexdigest())
    said: list[str] = []
    path = find_wheel_program(program, progress=said.append)
    assert path == tmp_path / "cache" / "tool-1.5" / "tool"
    assert path.read_bytes() == SCRIPT
    assert path.stat().st_mode & 0o111
    wheel.unlink()
    assert find_wheel_program(program, progress=said.append) == path
    assert len(said) == 2
    assert [each.name for each in (tmp_path / "cache").iterdir() if each.is_dir()] == ["tool-1.5"]


def test_a_wheel_of_another_hash_is_refused(wheel: Path, tmp_path: Path) -> None:
    assert wheel.exists()
    with pytest.raises(SandboxError, match="HASHES"):
        find_wheel_program(wanted("0" * 64))
    assert not (tmp_path / "cache" / "tool-1.5").exists()


def test_what_is_not_in_the_archive_is_told() -> None:
    with pytest.raises(SandboxError, match="bin/other"):
        member(nested(), ("package/lib/layer.zip", "bin/other"))
    with pytest.raises(SandboxError, match="package/none"):
        member(nested(), ("package/none",))


def test_elsewhere_the_path_is_looked_at(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxError, match="tool on the PATH"):
        find_wheel_program(wanted("0" * 64))
    (tmp_path / "tool").write_bytes(SCRIPT)
    (tmp_path / "tool").chmod(0o755)
    assert find_wheel_program(wanted("0" * 64)) == tmp_path / "tool"


def test_kubectl_is_pinned() -> None:
    assert "==" in KUBECTL.requirement
    assert len(KUBECTL.sha256) == 64
