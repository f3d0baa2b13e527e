"""The mapping guide lists the functions of expressions."""

from __future__ import annotations

import re
from pathlib import Path

from cdc_daemon.values.functions import FUNCTIONS

GUIDE = Path(__file__).parents[3] / "docs" / "mapping.md"


def test_the_guide_lists_every_function_with_its_result() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    assert dict(rows) == {name: function.gives for name, function in FUNCTIONS.items()}
