"""What the HTTP surface may know of the daemon."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from prometheus_client import CollectorRegistry


class LoopState(NamedTuple):
    """One of the daemon's loops: when it last came round (seconds since epoch), and whether that is soon enough."""

    last_beat: float
    ok: bool


class DaemonView(Protocol):
    """A running daemon, seen from outside. Each answer is at hand: none waits for a server."""

    @property
    def registry(self) -> CollectorRegistry:
        """The registry of the daemon's metrics."""
        ...

    def livez(self) -> Mapping[str, LoopState]:
        """Tell of each loop whether it beats. What Cassandra or Elasticsearch do has no part in this."""
        ...

    def status(self) -> Mapping[str, Any]:
        """Tell what the daemon does and how far it is, in plain values."""
        ...
