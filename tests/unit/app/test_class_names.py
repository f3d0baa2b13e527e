"""A class name has one meaning in the whole daemon."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

from tests.syntax import parse_file

CHECKOUT = Path(__file__).parents[3]


def test_no_two_public_classes_share_a_name() -> None:
    places = defaultdict(list)
    for package in ("cdc_daemon", "http/cdc_http"):
        for file in sorted((CHECKOUT / package).rglob("*.py")):
            for node in parse_file(file).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    places[node.name].append(str(file.relative_to(CHECKOUT)))
    assert places
    assert {name: files for name, files in places.items() if len(files) > 1} == {}
