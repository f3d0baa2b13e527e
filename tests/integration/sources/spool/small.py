"""How much the cdc_raw of these tests may hold."""

from __future__ import annotations

TOTAL_MIB = 24
