"""PromQL that several panels share; `{of}` stands for the selected daemons."""

from __future__ import annotations

from monitoring.panels import Query

RATE = "$__rate_interval"
LAG = "cdc_daemon_replication_lag_seconds"
BULK = "cdc_daemon_bulk_duration_seconds"
HTTP = "cdc_daemon_http_request_duration_seconds"


def quantile(share: float, histogram: str) -> str:
    """Return a quantile of a histogram, 0.5 for the median."""
    return f"histogram_quantile({share}, sum by (le) (rate({histogram}_bucket{{of}}[{RATE}])))"


def quantiles(histogram: str) -> list[Query]:
    """Return the median, p90 and p99 of a histogram."""
    return [Query(quantile(share, histogram), f"p{share * 100:.0f}") for share in (0.5, 0.9, 0.99)]


def mean(histogram: str) -> str:
    """Return the mean of a histogram's values."""
    return f"sum(rate({histogram}_sum{{of}}[{RATE}])) / sum(rate({histogram}_count{{of}}[{RATE}]))"


def rate(metric: str, *by: str) -> str:
    """Return a counter's increase per second, by some of its labels."""
    return f"sum by ({', '.join(by)}) (rate({metric}{{of}}[{RATE}]))"
