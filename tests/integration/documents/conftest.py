"""A stage as the tests of the whole daemon have it."""

from __future__ import annotations

from tests.integration.daemon.conftest import elastic, stage

__all__ = ["elastic", "stage"]
