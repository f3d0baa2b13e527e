"""The steps of a release that change texts."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc_daemon import __version__
from release import changelog, version
from release.errors import ReleaseError

CHECKOUT = Path(__file__).parents[3]


def test_every_place_of_the_version_names_it() -> None:
    for name, form in version.PLACES.items():
        assert (CHECKOUT / name).read_text().count(form.format(__version__)) == 1, name


def test_the_changelog_is_moved() -> None:
    text = "# C\n\n## [Unreleased]\n\n### Added\n\n- A.\n\n## 0.1.0\n\n- Old.\n"
    moved = changelog.move(text, "0.2.0", "2026-12-01")
    assert moved == text.replace("## [Unreleased]\n", "## [Unreleased]\n\n## [0.2.0] - 2026-12-01\n")
    assert changelog.notes(moved, "0.2.0") == "### Added\n\n- A.\n"
    with pytest.raises(ReleaseError, match="no unreleased changes"):
        changelog.move(moved, "0.3.0", "2026-12-01")
    with pytest.raises(ReleaseError, match="already"):
        changelog.move(moved, "0.2.0", "2026-12-01")
    with pytest.raises(ReleaseError, match="no section"):
        changelog.notes(moved, "0.4.0")
    with pytest.raises(ReleaseError, match="once"):
        changelog.move("# C\n", "0.2.0", "2026-12-01")
