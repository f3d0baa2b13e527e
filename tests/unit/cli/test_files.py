"""Files that commands write: whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc_daemon.cli.files import write_file
from cdc_daemon.model.errors import CdcError


def test_an_existing_file_is_replaced_and_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("old", encoding="utf-8")
    file.chmod(0o640)
    write_file(file, "new", what="the text")
    assert (file.read_text(encoding="utf-8"), file.stat().st_mode & 0o777) == ("new", 0o640)
    assert list(tmp_path.iterdir()) == [file]


def test_folders_are_made_on_request_only(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "config.yaml"
    with pytest.raises(CdcError, match="the text cannot be written: No such file or directory"):
        write_file(file, "new", what="the text")
    write_file(file, "new", what="the text", make_folder=True)
    assert file.read_text(encoding="utf-8") == "new"


def test_a_folder_in_its_place_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").mkdir()
    with pytest.raises(CdcError, match="the text cannot be written"):
        write_file(tmp_path / "config.yaml", "new", what="the text")
    assert [each.name for each in tmp_path.iterdir()] == ["config.yaml"]
