"""What can go wrong with the sandbox."""

from __future__ import annotations

from cdc_daemon.model.errors import CdcError


class SandboxError(CdcError):
    """A server of the sandbox cannot be fetched, started, awaited or stopped."""
