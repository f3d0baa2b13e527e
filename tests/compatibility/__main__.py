"""`python -m tests.compatibility [FILE...]`: add the results of test runs, and write docs/compatibility.md."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.compatibility.page import FILE, render
from tests.compatibility.results import Results


def main(files: list[str]) -> None:
    """Add JUnit files to the results, the oldest first, and write the page from all."""
    results = Results.load()
    for path in sorted(map(Path, files), key=lambda path: path.stat().st_mtime):
        results.add(path)
    if files:
        results.save()
    FILE.write_text(render(results), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
