"""The error of the demo."""

from __future__ import annotations

from cdc_daemon.model.errors import CdcError


class DemoError(CdcError):
    """The daemon did not behave as the demo requires."""
