"""From raw values to Python values, by the driver's own types."""

from __future__ import annotations

from typing import Any

from cdc_daemon.commitlog.types import CqlType


def decode_value(cql_type: CqlType, value: bytes | None) -> Any:  # noqa: ANN401 - CQL has all types
    """Return the Python value of `value`, as the driver would in a row; None for None."""
    raise NotImplementedError
