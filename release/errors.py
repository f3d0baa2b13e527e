"""What stops a release."""

from __future__ import annotations


class ReleaseError(Exception):
    """A release cannot be made; the message says why, and what to do."""
