"""A daemon as a process of its own: started, watched, killed, started again, as an operator would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

import yaml
from prometheus_client.parser import text_string_to_metric_families

import sandbox.guard
from sandbox import Sandbox

_COMMAND = Path(sys.executable).with_name("cdc-daemon")
PATIENCE = 120.0
"""Seconds that a busy machine may take for what takes moments on an idle one."""

_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 0.25

T = TypeVar("T")


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, _data: Any) -> bool:
        return True


class StillWaitingError(AssertionError):
    """What was waited for did not come."""


def wait_for(what: str, look: Callable[[], T], *, seconds: float = PATIENCE, pause: float | None = None) -> T:
    """Return the first true answer of `look`; raise StillWaitingError after `seconds`.

    Without a `pause` (seconds) it looks ever less often, so as to take little from the servers it waits for.
    """
    until = time.monotonic() + seconds
    next_pause = pause or _FIRST_PAUSE
    while not (found := look()):
        if time.monotonic() > until:
            raise StillWaitingError(f"waited {seconds:g} s for {what}, found {found!r}")
        time.sleep(next_pause)
        if pause is None:
            next_pause = min(next_pause * 1.3, _LONGEST_PAUSE)
    return found


class DaemonProcess:
    """One daemon's configuration, state directory and log; at most one process at a time.

    `mappings` and `sections` are those of the configuration file, which each start writes anew; a section given is
    merged over the usual one. The process dies with the Python process that started it.
    """

    def __init__(
        self, box: Sandbox, directory: Path, *, mappings: Mapping[str, Any], **sections: Mapping[str, Any]
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.state = directory / "state"
        self.log_path = directory / "daemon.log"
        self.config_path = directory / "config.yaml"
        self.config: dict[str, Any] = {
            "cassandra": {"contact_points": box.contact_points, "port": box.cassandra.port},
            "commit_log": box.cassandra.log_folders,
            "elasticsearch": {"hosts": [box.elasticsearch.url], "request_timeout": "10s"},
            "state": {"directory": str(self.state)},
            "http": {"port": 0},
            "mappings": mappings,
        }
        for name, section in sections.items():
            self.config[name] = {**self.config.get(name, {}), **section}
        self._guard: subprocess.Popen[bytes] | None = None
        self._log_start = 0
        self.pid = 0

    @property
    def alive(self) -> bool:
        """Whether the process is there."""
        return self._guard is not None and self._guard.poll() is None

    def start(self) -> Self:
        """Write `config` to its file, start the process and return at once."""
        assert not self.alive, "the daemon runs already"
        self.config_path.write_text(yaml.dump(self.written_config(), Dumper=_Plain, sort_keys=False), encoding="utf-8")
        self._log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        self._guard = subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", sandbox.guard.__file__, str(self.log_path)),
                *(str(_COMMAND), "run", "--config", str(self.config_path)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._guard.stdout is not None
        self.pid = int(self._guard.stdout.readline())
        self._guard.stdout.close()
        return self

    def written_config(self) -> dict[str, Any]:
        """Return `config` with `snapshot: never` where a mapping says nothing: most tests begin with no backfill."""
        mappings = self.config["mappings"]
        if not isinstance(mappings, Mapping):
            return self.config
        quiet = {
            name: {"snapshot": "never", **mapping} if isinstance(mapping, Mapping) else mapping
            for name, mapping in mappings.items()
        }
        return {**self.config, "mappings": quiet}

    def run(self) -> Self:
        """Start the process and return when it replicates."""
        self.start()
        self.wait_running()
        return self

    def wait_running(self, seconds: float = PATIENCE) -> None:
        """Return when the process replicates."""
        self.wait_event("daemon.running", seconds=seconds)

    def wait_event(self, event: str, *, seconds: float = PATIENCE, **fields: Any) -> dict[str, Any]:
        """Return the first line of the present process's log that has this event and these fields."""

        def look() -> dict[str, Any] | None:
            ended = not self.alive
            for line in self.log():
                if line.get("event") == event and fields.items() <= line.items():
                    return line
            assert not ended, f"the daemon ended before {event}\n{self.log_text()[-4000:]}"
            return None

        return wait_for(f"the event {event} {fields or ''}", look, seconds=seconds) or {}

    def kill(self) -> None:
        """End it as kill -9 does; nothing happens when it does not run."""
        if self.alive:
            os.kill(self.pid, signal.SIGKILL)
        if self._guard is not None:
            self.wait_exit()

    def terminate(self) -> None:
        """Send SIGTERM and return at once."""
        os.kill(self.pid, signal.SIGTERM)

    def stop(self, seconds: float = 30.0) -> int:
        """Send SIGTERM and return the exit code."""
        self.terminate()
        return self.wait_exit(seconds)

    def wait_exit(self, seconds: float = 30.0) -> int:
        """Wait for the process to end; return its exit code, 128 plus the number of the signal that killed it."""
        assert self._guard is not None
        code = self._guard.wait(seconds)
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        return code

    def log_text(self) -> str:
        """Return what the present process, or the last one, wrote to standard error."""
        if not self.log_path.exists():
            return ""
        with self.log_path.open(encoding="utf-8", errors="replace") as file:
            file.seek(self._log_start)
            return file.read()

    def log(self) -> Iterator[dict[str, Any]]:
        """Return the complete lines of that as events; other text is an event named `text`."""
        for line in self.log_text().splitlines(keepends=True):
            if not line.endswith("\n"):
                return
            try:
                yield json.loads(line)
            except ValueError:
                yield {"event": "text", "text": line.rstrip()}

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the events of this name."""
        return [line for line in self.log() if line.get("event") == name]

    @property
    def url(self) -> str:
        """Where the daemon's HTTP surface listens."""
        return f"http://127.0.0.1:{self.wait_event('http.listening')['port']}"

    def get(self, path: str) -> bytes:
        """GET a path of the daemon's HTTP surface."""
        with urllib.request.urlopen(f"{self.url}{path}", timeout=60) as answer:
            body: bytes = answer.read()
            return body

    def status(self) -> dict[str, Any]:
        """Return what /status answers."""
        answer: dict[str, Any] = json.loads(self.get("/status"))
        return answer

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have these labels; 0 where there is none."""
        return sum(
            sample.value
            for family in text_string_to_metric_families(self.get("/metrics").decode())
            for sample in family.samples
            if sample.name == f"cdc_daemon_{name}" and labels.items() <= sample.labels.items()
        )

    def metrics(self, name: str, label: str) -> dict[str, float]:
        """Return a metric's samples by the value of one label, those of other labels added up."""
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(self.get("/metrics").decode()):
            for sample in family.samples:
                if sample.name == f"cdc_daemon_{name}":
                    found[sample.labels[label]] = found.get(sample.labels[label], 0.0) + sample.value
        return found
