"""CHANGELOG.md has the form of Keep a Changelog: releases, the six kinds of changes, and one line for each change."""

from __future__ import annotations

import re
from pathlib import Path

from cdc_daemon import __version__

LINES = (Path(__file__).parents[3] / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
KINDS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
LONGEST = 240


def test_the_releases_are_in_order_and_the_first_is_unreleased() -> None:
    headings = [line.removeprefix("## ") for line in LINES if line.startswith("## ")]
    assert headings[0] == "[Unreleased]"
    versions = []
    for heading in headings[1:]:
        found = re.fullmatch(r"\[?(\d+)\.(\d+)\.(\d+)\]?( - \d{4}-\d{2}-\d{2})?", heading)
        assert found, heading
        versions.append(tuple(map(int, found.groups()[:3])))
    assert versions == sorted(versions, reverse=True)
    assert ".".join(map(str, versions[0])) == __version__


def test_each_kind_of_change_is_named_once_in_a_release() -> None:
    kinds: list[str] = []
    for line in LINES:
        if line.startswith("## "):
            kinds = []
        elif line.startswith("### "):
            kinds.append(line.removeprefix("### "))
            assert kinds[-1] in KINDS
            assert len(kinds) == len(set(kinds)), f"{line} is there twice"


def test_each_change_is_one_line() -> None:
    changes = [line for line in LINES if line.startswith("- ")]
    assert changes
    assert [line for line in LINES if line.startswith("  ")] == [], "write a change on one line, however long it is"
    assert [line for line in changes if len(line) > LONGEST] == []
    assert [line for line in changes if not line.endswith(".")] == []
