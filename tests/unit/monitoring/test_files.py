"""Files that are made from the code are as the code makes them now."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from monitoring.files import CHECKOUT, COMMAND, COMPONENT, files, rules


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_a_made_file_is_up_to_date(path: Path) -> None:
    made = files()[path]()
    found = path.read_text(encoding="utf-8") if path.exists() else ""
    assert found == made, f"{path.relative_to(CHECKOUT)} is not what the code makes: run `{COMMAND}` and commit it"


def test_the_operators_object_holds_the_same_rules() -> None:
    manifest = yaml.safe_load((COMPONENT / "prometheus-rule.yaml").read_text(encoding="utf-8"))
    assert manifest["kind"] == "PrometheusRule"
    assert manifest["spec"] == rules()
