"""The servers and the daemon as separate processes, and the actions on them."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from sandbox.artifacts import DEFAULT_CASSANDRA
from sandbox.background import Background
from sandbox.cache import cache_directory
from sandbox.control import order, run_program
from sandbox.demo.schema import ALIAS, make_config
from sandbox.engines import DEFAULT_ENGINE
from sandbox.errors import SandboxError
from sandbox.ports import PortReservation
from sandbox.state import read_state

KEPT_NAME = "demo"
"""The name under which a sandbox that is kept is found by `python -m sandbox`."""

DAEMON = "daemon"
"""The daemon's name for `python -m sandbox kill` and the like."""

_LOG_LINES = 15


class Stage:
    """A sandbox with the daemon beside it. All of it ends with this process, unless `leave` is called.

    With `keep` it has a name, under which it can be found afterwards. `search` and `cassandra` choose the servers, as
    they do for `Sandbox`.
    """

    def __init__(self, *, keep: bool, search: str = DEFAULT_ENGINE, cassandra: str = DEFAULT_CASSANDRA) -> None:
        self._ports = PortReservation()
        self._background = Background({"name": KEPT_NAME if keep else None, "search": search, "cassandra": cassandra})
        self._sandbox: dict[str, Any] = {}
        self._port = 0
        self._daemon_pid = 0

    @property
    def sandbox(self) -> dict[str, Any]:
        """The sandbox's description, as `python -m sandbox up --json` prints it."""
        if not self._sandbox:
            raise SandboxError("the servers are not started")
        return self._sandbox

    @property
    def is_up(self) -> bool:
        """Whether the servers and the daemon were started."""
        return self._port > 0

    @property
    def directory(self) -> Path:
        """The sandbox's folder."""
        return Path(self.sandbox["directory"])

    @property
    def config_path(self) -> Path:
        """The daemon's configuration file."""
        return self.directory / "daemon" / "config.yaml"

    @property
    def log_path(self) -> Path:
        """The daemon's log, of all its lives."""
        return self.directory / "daemon" / "daemon.log"

    @property
    def daemon_url(self) -> str:
        """Where the daemon answers."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def index_url(self) -> str:
        """Where the documents are, through the alias."""
        return f"{self.sandbox['elasticsearch']['url']}/{ALIAS}"

    @property
    def daemon_is_alive(self) -> bool:
        """Whether the daemon's process is there."""
        try:
            os.kill(self._daemon_pid, 0)
        except ProcessLookupError:
            return False
        return self._daemon_pid > 0

    def reserve_port(self) -> int:
        """Return a port that stays free for a program of the caller's."""
        return self._ports.reserve()

    async def start_servers(self, progress: Callable[[str], None]) -> None:
        """Start Cassandra and the search engine and return when both answer. Raises SandboxError."""
        self._sandbox = await asyncio.to_thread(self._background.wait_ready, progress)

    async def start_daemon(self, **sections: Any) -> None:
        """Write its configuration, with sections of the caller's, and start the daemon; it is not awaited."""
        self._port = self.reserve_port()
        self.config_path.parent.mkdir()
        config = make_config(self.sandbox, state_directory=self.config_path.parent / "state", port=self._port)
        config |= sections
        self.config_path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        program = Path(sys.executable).with_name("cdc-daemon")
        command = [str(program), "run", "--config", str(self.config_path)]
        await asyncio.to_thread(run_program, self.directory, DAEMON, command, output=self.log_path)
        self._note_daemon()

    async def kill_daemon(self) -> None:
        """End the daemon as kill -9 does."""
        await self._order("kill", DAEMON)

    async def restart_daemon(self) -> None:
        """Start the daemon again; it is not awaited."""
        await self._order("start", DAEMON)
        self._note_daemon()

    async def stop_elasticsearch(self) -> None:
        """Shut Elasticsearch down and return when it is gone."""
        await self._order("stop", "elasticsearch")

    async def start_elasticsearch(self) -> None:
        """Start Elasticsearch and return when it answers."""
        await self._order("start", "elasticsearch")

    def daemon_log_tail(self) -> str:
        """Return the last lines of the daemon's log."""
        if not self._sandbox or not self.log_path.exists():
            return ""
        return "\n".join(self.log_path.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:])

    def save_daemon_log(self) -> Path | None:
        """Copy the daemon's log to where it stays; return that place, or None when there is no log."""
        if not self._sandbox or not self.log_path.exists():
            return None
        return Path(shutil.copy(self.log_path, cache_directory() / "demo-daemon.log"))

    def leave(self) -> None:
        """Keep everything running after this process ends; `python -m sandbox down demo` ends it."""
        self._background.leave()

    def close(self) -> None:
        """End everything and remove it, unless it was left."""
        self._background.close()
        self._ports.close()

    async def _order(self, action: str, server: str) -> None:
        await asyncio.to_thread(order, self.directory, action, server)

    def _note_daemon(self) -> None:
        state = read_state(self.directory)
        assert state is not None
        self._daemon_pid = int(state["programs"][DAEMON]["pid"] or 0)
