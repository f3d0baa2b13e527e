"""How to use the servers that the demo has left running."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from sandbox.demo.stage import DAEMON, KEPT_NAME, Stage

_INSERT = "INSERT INTO sunbird.user (id, firstname) VALUES ('me', 'Ada')"
_UPDATE = "UPDATE sunbird.user SET lastname = 'Lovelace' WHERE id = 'me'"
_DELETE = "DELETE FROM sunbird.user WHERE id = 'me'"


def guide(stage: Stage) -> list[str]:
    """Return the lines to be printed."""
    sandbox = f"{_short(Path(sys.executable))} -m sandbox"
    return [
        "Everything is up. Write a row, and look at its document:",
        f'  {sandbox} cql --name {KEPT_NAME} "{_INSERT}"',
        f"  curl -s '{stage.index_url}/_doc/me?pretty&_source_includes=firstName,lastName'",
        f'  {sandbox} cql --name {KEPT_NAME} "{_UPDATE}"',
        f'  {sandbox} cql --name {KEPT_NAME} "{_DELETE}"',
        "What the daemon says of itself: the status page for people, and the same for machines:",
        f"  {stage.daemon_url}/",
        f"  curl -s {stage.daemon_url}/status",
        f"  curl -s {stage.daemon_url}/metrics | grep ^cdc_daemon_",
        f"  tail -f {_short(stage.log_path)}",
        f"Take something away ({DAEMON}, elasticsearch, cassandra), bring it back, and compare all rows:",
        f"  {sandbox} kill {DAEMON} --name {KEPT_NAME}",
        f"  {sandbox} start {DAEMON} --name {KEPT_NAME}",
        f"  {sandbox} compare --config {_short(stage.config_path)}",
        "Stop and remove everything:",
        f"  {sandbox} down {KEPT_NAME}",
    ]


def outlook() -> list[str]:
    """Return the lines for a demo that leaves nothing running: how to see the status page and the metrics."""
    return [
        "To look around: make demo KEEP=1 leaves all of it up, and tells where the status page and the metrics are.",
        "The dashboard's queries and the alerts on a real Prometheus: make observe",
    ]


def _short(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
