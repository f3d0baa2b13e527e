"""The limit of cdc_raw in these tests."""

from __future__ import annotations

TOTAL_MIB = 24
