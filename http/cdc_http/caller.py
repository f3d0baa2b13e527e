"""Who asks."""

from __future__ import annotations

from typing import NamedTuple

from cdc_daemon.config.http import Scope


class Caller(NamedTuple):
    """A caller whose token is known: what they are called in the log, and what they may do."""

    name: str
    scopes: frozenset[Scope]
