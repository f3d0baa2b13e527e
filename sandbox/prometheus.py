"""A real Prometheus that scrapes one daemon, with the project's rules loaded."""

from __future__ import annotations

import json
import math
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

from monitoring.files import RULES
from sandbox.debian import find_program
from sandbox.errors import SandboxError
from sandbox.maven import silent
from sandbox.programs import PROMETHEUS

JOB = "cdc-daemon"

_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One series' value at one moment."""

    labels: Mapping[str, str]
    value: float


class Prometheus:
    """Its configuration, its command line, and its API. It is started by whoever has the processes.

    `target` is the daemon's host and port, `seconds` how often it is asked and the rules are evaluated.
    """

    def __init__(self, directory: Path, *, port: int, target: str, seconds: float = 1.0) -> None:
        self._directory = directory
        self._port = port
        self._target = target
        self._every = f"{seconds * 1000:.0f}ms"

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._port}"

    def prepare(self, progress: Callable[[str], None] = silent) -> list[str]:
        """Write the configuration and return the command line. Raises SandboxError when there is no Prometheus."""
        program = find_program(PROMETHEUS, progress=progress)
        self._directory.mkdir(parents=True, exist_ok=True)
        file = self._directory / "prometheus.yml"
        config = {
            "global": {
                "scrape_interval": self._every,
                "scrape_timeout": self._every,
                "evaluation_interval": self._every,
            },
            "rule_files": [str(RULES)],
            "scrape_configs": [{"job_name": JOB, "static_configs": [{"targets": [self._target]}]}],
        }
        file.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        return [
            str(program.path),
            f"--config.file={file}",
            f"--storage.tsdb.path={self._directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._port}",
            "--log.level=warn",
        ]

    def is_ready(self) -> bool:
        """Return whether it answers."""
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=_TIMEOUT):  # noqa: S310 -- our own URL
                return True
        except OSError:
            return False

    def query(self, text: str) -> list[Sample]:
        """Return the result of a query now; values that are not numbers are left out. Raises SandboxError."""
        found = self._ask("query", query=text)["result"]
        samples = (Sample(each["metric"], float(each["value"][1])) for each in found)
        return [sample for sample in samples if not math.isnan(sample.value)]

    def history(
        self, text: str, *, begin: float, end: float, step: float
    ) -> list[tuple[Mapping[str, str], list[tuple[float, float]]]]:
        """Return a query's series over a time, in seconds since epoch: labels, and moments with values.

        Values that are no number are left out. Raises SandboxError.
        """
        found = self._ask("query_range", query=text, start=f"{begin}", end=f"{end}", step=f"{step}")["result"]
        series = ((each["metric"], [(at, float(value)) for at, value in each["values"]]) for each in found)
        return [(labels, [point for point in points if not math.isnan(point[1])]) for labels, points in series]

    def alerts(self) -> dict[str, str]:
        """Return the active alerts by name: `pending` or `firing`. Raises SandboxError."""
        states: dict[str, str] = {}
        for alert in self._ask("alerts")["alerts"]:
            name, state = alert["labels"]["alertname"], alert["state"]
            states[name] = "firing" if "firing" in {state, states.get(name)} else state
        return states

    def _ask(self, what: str, **parameters: str) -> Any:
        try:
            url = f"{self.url}/api/v1/{what}?{urlencode(parameters)}"
            with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer:  # noqa: S310 -- our own URL
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise SandboxError(f"Prometheus refused: {error.read().decode(errors='replace')}") from error
        except (OSError, ValueError) as error:
            raise SandboxError(f"Prometheus gave no answer: {error}") from error
