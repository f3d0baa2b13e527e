"""A stage as the tests of the whole daemon have it."""

from __future__ import annotations

from tests.integration.daemon.conftest import stage

__all__ = ["stage"]
