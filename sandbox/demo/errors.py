"""What can go wrong in the demo."""

from __future__ import annotations

from cdc_daemon.model.errors import CdcError


class DemoError(CdcError):
    """The daemon did not do what the demo is there to show."""
