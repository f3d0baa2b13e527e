"""`python -m release VERSION`: check, set the version, move the changelog, commit, tag, and make the files."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from release import changelog, version
from release.commands import git
from release.errors import ReleaseError
from release.files import Result, make_files


def main() -> int:
    """Run the command line and return its exit code: 0 made, 1 stopped, 2 something is missing and --strict is set."""
    parser = argparse.ArgumentParser(prog="python -m release", description=__doc__)
    parser.add_argument("version", help="the new version, such as 0.2.0, or one whose tag exists, to make its files")
    parser.add_argument("--output", type=Path, default=Path("dist"), help="the folder of the files (emptied before)")
    parser.add_argument("--strict", action="store_true", help="fail if a part is missing")
    given = parser.parse_args()
    checkout = Path.cwd()
    try:
        if git(checkout, "tag", "--list", f"v{given.version}"):
            print(f"the tag v{given.version} exists: its files are made again")
        else:
            prepare(checkout, given.version)
        results = make_files(checkout, given.version, given.output.absolute(), tell=show)
    except ReleaseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    missing = [result.part for result in results if result.missing]
    print(f"{given.output / given.version}: " + (f"without {', '.join(missing)}" if missing else "complete"))
    print("nothing was pushed or published; docs/release.md says what comes next")
    return 2 if missing and given.strict else 0


def show(result: Result) -> None:
    """Print what became of a part."""
    print(f"  {result.part:<22}{result.made or f'NOT MADE: {result.missing}'}", flush=True)


def prepare(checkout: Path, wanted: str) -> None:
    """Set the version, move the changelog, commit and tag. Raises `ReleaseError` before anything is changed."""
    old = version.current(checkout)
    if version.parse(wanted) <= version.parse(old):
        raise ReleaseError(f"expected a version above {old}, found {wanted}")
    if changed := git(checkout, "status", "--porcelain"):
        raise ReleaseError(f"commit or remove these first:\n{changed}")
    file = checkout / "CHANGELOG.md"
    moved = changelog.move(file.read_text(encoding="utf-8"), wanted, datetime.now(UTC).strftime("%Y-%m-%d"))
    version.replace(checkout, old, wanted)
    file.write_text(moved, encoding="utf-8")
    git(checkout, "commit", "--all", "--quiet", "--message", f"Release {wanted}")
    signed = bool(git(checkout, "config", "--default", "", "--get", "user.signingkey"))
    git(checkout, "tag", "--sign" if signed else "--annotate", f"v{wanted}", "--message", f"cdc-daemon {wanted}")
    unsigned = "" if signed else ", without a signature: user.signingkey is not set in git"
    print(f"{old} -> {wanted}: committed and tagged v{wanted}{unsigned}")


if __name__ == "__main__":
    sys.exit(main())
