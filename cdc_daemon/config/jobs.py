"""Work on whole tables: how hard it may be."""

from __future__ import annotations

from pydantic import Field

from cdc_daemon.config.base import Section
from cdc_daemon.config.units import DurationOrZero


class AuditSettings(Section):
    """A part of the rows and documents compared from time to time, at leisure."""

    every: DurationOrZero = 86400.0
    """How often a comparison begins; 0 for never."""
    sample: float = Field(default=0.01, gt=0, le=1)
    """The part that is compared each time, chosen by chance."""
    rate: float = Field(default=500.0, gt=0)
    """Rows a second at most, also of the comparison after changes that are only perhaps lost."""
    repair: bool = False
    """Whether differences are mended. They are told in the log, in metrics and by `cdc-daemon jobs` in any case."""


class JobsSettings(Section):
    """Backfill and reconcile, which run behind everything else the daemon does."""

    ranges_at_once: int = Field(default=2, ge=1, le=64)
    """How many ranges of tokens a job works on at once."""
    page_rows: int = Field(default=1000, ge=10, le=100_000)
    """How many rows a scan asks Cassandra for at once; fewer where they are large or it does not answer in time."""
    rate: float | None = Field(default=None, gt=0)
    """Rows a second of a job that names no rate itself; no bound when absent. Cassandra's and Elasticsearch's own
    slowness holds jobs back in any case."""
    heal: bool = True
    """Whether tables are reconciled and repaired unasked when changes were lost: a damaged or missing segment."""
    audit: AuditSettings = AuditSettings()
    """Comparisons from time to time."""
