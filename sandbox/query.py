"""CQL statements by hand: runs them on a sandbox and gives what comes back as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cassandra import DriverException, RequestExecutionException
from cassandra.cluster import NoHostAvailable

from sandbox.errors import SandboxError
from sandbox.session import connect, protocol_of


def run_statement(sandbox: dict[str, Any], statement: str) -> Iterator[str]:
    """Run a statement on the sandbox of this description; return a line for each value of each row.

    Raises SandboxError with what Cassandra says against it.
    """
    ring = sandbox.get("cassandra")
    if not ring:
        raise SandboxError(f"the sandbox {sandbox['name']} has no Cassandra that is up")
    try:
        with connect(ring["contact_points"], ring["port"], protocol=protocol_of(ring["version"])) as session:
            for number, row in enumerate(session.execute(statement), start=1):
                yield f"row {number}"
                known = ((name, value) for name, value in zip(row._fields, row, strict=True) if value is not None)
                yield from (f"  {name}: {value}" for name, value in known)
    except (DriverException, RequestExecutionException, NoHostAvailable) as problem:
        raise SandboxError(f"Cassandra refused the statement: {problem}") from None
