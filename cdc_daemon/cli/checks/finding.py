"""What a check found, and how to mend it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    `name` is stable, for machines. `status` is `ok`, `warn` (the daemon works, but something is lost or
    at risk) or `fail` (the daemon cannot do its work). `found` says what is there, `mend` what to do about it.
    """

    name: str
    status: Status
    found: str
    mend: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def ok(name: str, found: str) -> Finding:
    """Make the finding of what is as it should be."""
    return Finding(name, "ok", found)


def warn(name: str, found: str, mend: str) -> Finding:
    """Make the finding of what works but costs something."""
    return Finding(name, "warn", found, mend)


def fail(name: str, found: str, mend: str | None) -> Finding:
    """Make the finding of what keeps the daemon from its work."""
    return Finding(name, "fail", found, mend)
