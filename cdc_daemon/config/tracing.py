"""Traces for OpenTelemetry."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from cdc_daemon.config.base import Section

Url = Annotated[str, Field(pattern=r"^https?://.+")]


class TracingSettings(Section):
    """A span for some of the changes, from their write time to their acknowledgement. It needs `cdc-daemon[otel]`."""

    endpoint: Url | None = None
    """Where spans are sent by OTLP over HTTP, such as http://127.0.0.1:4318/v1/traces; none are made when absent."""
    share: float = Field(default=0.01, gt=0, le=1)
    """How many of the changes have a span, of 1."""
