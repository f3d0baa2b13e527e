"""`python -m tests.fixtures_maker [NAME…]`: make the commit-log fixtures anew, all or those named."""

from __future__ import annotations

import argparse
import sys

from tests.fixtures_maker.make import combinations, make


def main() -> int:
    """Make what is asked for; return the exit code."""
    known = {each.name: each for each in combinations()}
    parser = argparse.ArgumentParser(prog="python -m tests.fixtures_maker", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(known)}")
    chosen = parser.parse_args().names or list(known)
    for name in chosen:
        if name not in known:
            parser.error(f"no such combination as {name}")
    for name in chosen:
        sys.stdout.write(f"{name}: ")
        sys.stdout.flush()
        sys.stdout.write(f"{make(known[name])} partition updates\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
