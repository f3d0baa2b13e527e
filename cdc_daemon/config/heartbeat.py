"""A row that is written only to be seen again."""

from __future__ import annotations

from cdc_daemon.config.base import Section
from cdc_daemon.config.mapping_names import Table
from cdc_daemon.config.units import Duration


class HeartbeatSettings(Section):
    """A row of each daemon's own that goes the whole way, so that freshness is measured where nothing is written."""

    table: Table | None = None
    """The table of the rows, with a mapping and `cdc = true`: `(node text PRIMARY KEY, at timestamp)`. The daemon's
    role needs MODIFY on it. No heartbeat when absent."""
    every: Duration = 10.0
    """How often the row is written."""
