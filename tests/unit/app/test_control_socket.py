"""The control socket: its mode, a socket that a killed daemon has left, and folders that can hold none."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from cdc_daemon.app.serving import serving
from cdc_daemon.cli.local_daemon import LocalDaemon
from cdc_daemon.config import HttpSettings
from cdc_daemon.model.control_socket import CONTROL_SOCKET, socket_address
from cdc_http import server
from tests.unit.http.fake import FakeDaemon

SILENT = HttpSettings(enabled=False)


async def test_only_its_own_user_can_open_it_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        async with serving(FakeDaemon(), SILENT, state=tmp_path):
            found = (tmp_path / CONTROL_SOCKET).stat()
    finally:
        os.umask(before)
    assert stat.S_ISSOCK(found.st_mode)
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert _files(tmp_path) == []


async def test_a_socket_that_a_killed_daemon_has_left_is_replaced(tmp_path: Path) -> None:
    for name in (CONTROL_SOCKET, f"{CONTROL_SOCKET}.new"):
        with socket.socket(socket.AF_UNIX) as abandoned, socket_address(tmp_path / name) as address:
            abandoned.bind(address)
    async with serving(FakeDaemon(), SILENT, state=tmp_path):
        assert await _answers(tmp_path)
    assert not await _answers(tmp_path)


async def test_a_folder_that_can_hold_no_socket_leaves_the_ports(tmp_path: Path) -> None:
    (tmp_path / CONTROL_SOCKET).mkdir()
    with capture_logs() as lines:
        async with serving(FakeDaemon(), HttpSettings(port=0), state=tmp_path):
            assert not await _answers(tmp_path)
    (line,) = [line for line in lines if line["event"] == "control.unavailable"]
    assert line["socket"] == str(tmp_path / CONTROL_SOCKET)
    assert line["error"] == "Is a directory"
    assert "--token-file" in line["hint"]
    assert "http.listening" in [line["event"] for line in lines]


async def test_a_folder_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: Path) -> socket.socket:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(server, "listen_for_own_user", refuse)
    with capture_logs() as lines:
        async with serving(FakeDaemon(), SILENT, state=tmp_path):
            assert not await _answers(tmp_path)
    assert [line["error"] for line in lines] == ["Permission denied"]


async def test_each_name_of_a_host_is_accepted(tmp_path: Path) -> None:
    settings = HttpSettings(enabled=False, allowed_hosts=("cdc.example.org",))
    async with serving(FakeDaemon(), settings, state=tmp_path):
        assert await _answers(tmp_path)


def _files(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir()]


async def _answers(state: Path) -> bool:
    answer = await asyncio.to_thread(LocalDaemon(state).send, "GET", "/admin/jobs", None, {}, 60)
    return answer is not None and answer.status == 200
