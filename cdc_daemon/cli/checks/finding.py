"""The result of a check: what was found, and how to fix it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    `name` is stable, for scripts. `status` is `ok`, `warn` (the daemon works, but something is lost or at risk) or
    `fail` (the daemon cannot work). `found` describes what was found, `mend` how to fix it.
    """

    name: str
    status: Status
    found: str
    mend: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def ok(name: str, found: str) -> Finding:
    """Return the finding for something that is correct."""
    return Finding(name, "ok", found)


def warn(name: str, found: str, mend: str) -> Finding:
    """Return the finding for something that works, but with a disadvantage."""
    return Finding(name, "warn", found, mend)


def fail(name: str, found: str, mend: str | None) -> Finding:
    """Return the finding for something that prevents the daemon from working."""
    return Finding(name, "fail", found, mend)
