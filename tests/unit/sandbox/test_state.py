from __future__ import annotations

import os
from pathlib import Path

import pytest

from sandbox.errors import SandboxError
from sandbox.state import all_folders, checked_name, is_running, open_folder, owner, read_state


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CDC_DAEMON_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_named_sandbox_is_listed_locked_and_removed_in_the_end(cache: Path) -> None:
    folder = open_folder(name="mine", directory=None)

    assert folder.path == cache / "sandboxes" / "mine"
    assert all_folders() == [folder.path]
    assert is_running(folder.path)
    assert owner(folder.path) == os.getpid()
    assert read_state(folder.path) is None
    folder.write({"name": "mine", "pid": 1})
    assert read_state(folder.path) == {"name": "mine", "pid": 1}

    folder.close()
    assert all_folders() == []
    assert not is_running(folder.path)


def test_two_sandboxes_cannot_have_one_name() -> None:
    folder = open_folder(name="mine", directory=None)

    with pytest.raises(SandboxError, match="mine is running") as caught:
        open_folder(name="mine", directory=None)

    assert caught.value.hint == "python -m sandbox down mine"
    assert is_running(folder.path)
    folder.close()


def test_the_remains_of_a_dead_sandbox_are_cleared_for_its_successor(cache: Path) -> None:
    remains = cache / "sandboxes" / "mine"
    (remains / "cassandra-1").mkdir(parents=True)
    (remains / "state.json").write_text('{"pid": 1}')
    assert not is_running(remains)

    folder = open_folder(name="mine", directory=None)

    assert [entry.name for entry in folder.path.iterdir()] == ["lock"]
    folder.close()


def test_unnamed_remains_are_swept_and_living_and_named_sandboxes_are_not(cache: Path) -> None:
    living = open_folder(name=None, directory=None)
    dead = cache / "sandboxes" / "unnamed-dead"
    dead.mkdir()
    named = cache / "sandboxes" / "named"
    named.mkdir()

    other = open_folder(name=None, directory=None)

    assert sorted(all_folders()) == sorted([living.path, other.path, named])
    living.close()
    other.close()


def test_a_given_directory_is_kept(tmp_path: Path) -> None:
    folder = open_folder(name=None, directory=tmp_path / "kept")
    (folder.path / "data").touch()
    folder.close()

    assert (tmp_path / "kept" / "data").exists()
    assert not is_running(tmp_path / "kept")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "-x", "a b", "x" * 60])
def test_names_are_checked(name: str) -> None:
    with pytest.raises(SandboxError, match="expected a name"):
        checked_name(name)
