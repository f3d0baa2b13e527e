"""`python -m tests.fixtures_maker [--compare SEED] [NAME…]`: generates the commit-log fixtures, all or those named.

With --compare nothing is kept: random writes by a seed go through a real server, and `dump --raw` has to say of them
what Cassandra's own reader says.
"""

from __future__ import annotations

import argparse
import sys

from tests.fixtures_maker.compare import compare
from tests.fixtures_maker.make import combinations, make


def main() -> int:
    """Make what is asked for; return the exit code."""
    known = {each.name: each for each in combinations()}
    parser = argparse.ArgumentParser(prog="python -m tests.fixtures_maker", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(known)}")
    parser.add_argument("--compare", type=int, metavar="SEED", help="compare random writes, and keep nothing")
    arguments = parser.parse_args()
    chosen = arguments.names or list(known)
    for name in chosen:
        if name not in known:
            parser.error(f"no such combination as {name}")
    for name in chosen:
        sys.stdout.write(f"{name}: ")
        sys.stdout.flush()
        if arguments.compare is None:
            sys.stdout.write(f"{make(known[name])} partition updates\n")
        else:
            equal, refused = compare(known[name], arguments.compare)
            sys.stdout.write(f"{equal} partition updates equal, {refused} writes refused\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
