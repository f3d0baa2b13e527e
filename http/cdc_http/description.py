"""The OpenAPI description of the HTTP surface, as it is served."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_HERE = Path(__file__).parent


@cache
def description() -> bytes:
    """Return `openapi.yaml`: beside this package in a checkout, inside it when installed."""
    file = _HERE / "openapi.yaml"
    return (file if file.exists() else _HERE.parent / "openapi.yaml").read_bytes()
