"""An operator of a running daemon, as the commands need one: starts jobs, follows them, ends them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from cdc_daemon.cli.client import DaemonClient

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 3.0
"""Seconds between two looks at a job that is followed: the longer it runs, the longer they are."""


class JobsClient:
    """Asks a daemon for work on whole tables. Methods raise `CdcError` when it refuses, or stays away."""

    def __init__(self, client: DaemonClient) -> None:
        self._client = client

    def start(self, kind: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Start a job; return its state."""
        told: dict[str, Any] = self._client.ask("POST", f"/admin/{kind}", wanted)
        return told

    def jobs(self, limit: int = 100) -> dict[str, list[dict[str, Any]]]:
        """Return what is told of the newest `jobs`, newest first, and of what is `scheduled`."""
        listed: dict[str, list[dict[str, Any]]] = self._client.ask("GET", f"/admin/jobs?limit={limit}")
        return listed

    def job(self, identity: str) -> dict[str, Any]:
        """Return what is told of a job."""
        told: dict[str, Any] = self._client.ask("GET", f"/admin/jobs/{quote(identity, safe='')}")
        return told

    def cancel(self, identity: str) -> dict[str, Any]:
        """End a job; return what is told of it."""
        told: dict[str, Any] = self._client.ask("POST", f"/admin/jobs/{quote(identity, safe='')}/cancel", {})
        return told

    def follow(self, identity: str) -> Iterator[dict[str, Any]]:
        """Yield the state of a job until it has ended, also across restarts of the daemon."""
        pause = FIRST_PAUSE
        while True:
            told = self.job(identity)
            yield told
            if told["finished"] is not None:
                return
            time.sleep(pause)
            pause = min(1.5 * pause, LONGEST_PAUSE)


class IndicesClient:
    """Asks a daemon for the indices behind its aliases. Methods raise `CdcError` when it refuses, or stays away."""

    def __init__(self, client: DaemonClient) -> None:
        self._client = client

    def indices(self) -> list[dict[str, Any]]:
        """Return what is told of the indices of each type."""
        listed: list[dict[str, Any]] = self._client.ask("GET", "/admin/indices")["indices"]
        return listed

    def rollback(self, object_type: str, *, behind: bool = False, dry_run: bool = False) -> dict[str, Any]:
        """Roll back to the index that was live before; return the state of the indices."""
        return self._change(object_type, f"rollback?behind={_flag(behind)}&dry_run={_flag(dry_run)}")

    def drop(self, object_type: str, *, dry_run: bool = False) -> dict[str, Any]:
        """Delete the second index; return the state of the indices."""
        return self._change(object_type, f"drop?dry_run={_flag(dry_run)}")

    def _change(self, object_type: str, what: str) -> dict[str, Any]:
        told: dict[str, Any] = self._client.ask("POST", f"/admin/indices/{quote(object_type, safe='')}/{what}", {})
        return told


def _flag(flag: bool) -> str:  # noqa: FBT001  it is nothing but a flag
    return "true" if flag else "false"
