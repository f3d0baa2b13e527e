"""Work on whole tables: how hard it may be."""

from __future__ import annotations

from pydantic import Field

from cdc_daemon.config.base import Section


class JobsSettings(Section):
    """Backfill and reconcile, which run behind everything else the daemon does."""

    ranges_at_once: int = Field(default=2, ge=1, le=64)
    """How many ranges of tokens a job works on at once."""
    page_rows: int = Field(default=1000, ge=10, le=100_000)
    """How many keys a scan asks Cassandra for at once; fewer while it does not answer in time."""
    rate: float | None = Field(default=None, gt=0)
    """Rows a second of a job that names no rate itself; no bound when absent. Cassandra's and Elasticsearch's own
    slowness holds jobs back in any case."""
