"""`python -m release` in a scratch clone: version, changelog, tag, and files that are the same bytes each time."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from cdc_daemon import __version__
from release import version
from release.files import CHECKSUMS

CHECKOUT = Path(__file__).parents[2]
NEW = "99.1.2"
AUTHOR = {f"GIT_{who}_{what}": "test@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def release(clone: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command with no other program than git beside it."""
    names = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "RELEASE_"))}
    tools = clone.parent / "tools"
    return subprocess.run(
        [sys.executable, "-m", "release", *words],
        cwd=clone,
        env={**names, **AUTHOR, "GIT_CONFIG_GLOBAL": "/dev/null", "PATH": str(tools), **more},
        capture_output=True,
        text=True,
        check=False,
    )


def tool(clone: Path, name: str, script: str) -> Path:
    """Put a program on the path that notes its words."""
    log = clone.parent / f"{name}.log"
    file = clone.parent / "tools" / name
    file.write_text(f'#!/bin/sh\necho "$@" >> {log}\n{script}\n')
    file.chmod(0o755)
    return log


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The files of the checkout as they are now, as the one commit of a repository."""
    folder = tmp_path / "clone"
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if not name.startswith("tests/") and (CHECKOUT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(CHECKOUT / name, folder / name)
    for words in (("init", "--quiet", "--initial-branch=main"), ("add", "--all"), ("commit", "--quiet", "--message=x")):
        subprocess.run(["git", *words], cwd=folder, env={**os.environ, **AUTHOR}, check=True)
    (tmp_path / "tools").mkdir()
    git = shutil.which("git")
    assert git
    (tmp_path / "tools" / "git").symlink_to(git)
    return folder


def sums(clone: Path) -> str:
    return (clone / "dist" / NEW / CHECKSUMS).read_text()


def test_a_release_has_its_files_and_names_what_is_missing(clone: Path) -> None:
    made = release(clone, NEW)
    assert made.returncode == 0, made.stdout + made.stderr
    assert version.current(clone) == NEW
    for name, form in version.PLACES.items():
        assert form.format(NEW) in (clone / name).read_text()
    text = (clone / "CHANGELOG.md").read_text()
    assert f"## [Unreleased]\n\n## [{NEW}] - 2" in text
    for missing in ("helm is not installed", "neither docker nor podman is installed", "RELEASE_KEY names no key"):
        assert f"NOT MADE: {missing}" in made.stdout
    folder = clone / "dist" / NEW
    files = {each.name for each in folder.iterdir()}
    packages = {f"cdc_daemon-{NEW}-py3-none-any.whl", f"cdc_daemon-{NEW}.tar.gz"}
    assert files == packages | {
        f"cdc-daemon-{NEW}-k8s.tar.gz",
        f"cdc-daemon-{NEW}.cdx.json",
        f"cdc-daemon-{NEW}.md",
        CHECKSUMS,
    }
    for line in sums(clone).splitlines():
        digest, name = line.split()
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert (folder / f"cdc-daemon-{NEW}.md").read_text().strip() in text
    bill = json.loads((folder / f"cdc-daemon-{NEW}.cdx.json").read_text())
    assert "cassandra-driver" in {each["name"] for each in bill["components"]}
    with tarfile.open(folder / f"cdc-daemon-{NEW}-k8s.tar.gz") as archive:
        assert f"cdc-daemon-{NEW}/k8s/base/kustomization.yaml" in archive.getnames()

    before = sums(clone)  # the files of a tag are the same whenever and by whomever they are made
    (clone / "untracked.txt").write_text("not part of the release")
    again = release(clone, NEW, "--strict")
    assert again.returncode == 2
    assert "its files are made again" in again.stdout
    assert sums(clone) == before


def test_tools_and_keys_that_are_there_are_used(clone: Path) -> None:
    docker = tool(clone, "docker", "")
    gpg = tool(clone, "gpg", "echo signed > SHA256SUMS.asc")
    made = release(clone, NEW, RELEASE_KEY="ABCD")
    assert made.returncode == 0, made.stdout + made.stderr
    assert f"cdc-daemon:{NEW}, in the local store of docker" in made.stdout
    built = docker.read_text().splitlines()[-1]
    assert f"--build-arg VERSION={NEW} --build-arg REVISION=" in built
    assert "--local-user ABCD" in gpg.read_text()
    assert (clone / "dist" / NEW / "SHA256SUMS.asc").exists()

    tool(clone, "docker", "[ $1 != info ]")
    assert "NOT MADE: docker is installed, but `docker info` fails" in release(clone, NEW).stdout
    tool(clone, "docker", "[ $1 = info ] || { echo no space left; exit 3; }")
    failed = release(clone, NEW)
    assert failed.returncode == 1
    assert "failed with exit code 3" in failed.stderr
    assert "no space left" in failed.stderr


def test_nothing_is_changed_if_a_release_cannot_be_made(clone: Path) -> None:
    def refused(wanted: str) -> str:
        tried = release(clone, wanted)
        assert tried.returncode == 1
        assert "Traceback" not in tried.stderr
        assert version.current(clone) == __version__
        assert not (clone / "dist").exists()
        return tried.stderr

    assert "such as 1.2.3" in refused("next")
    assert f"above {__version__}" in refused(__version__)
    (clone / "README.md").write_text("changed")
    assert "README.md" in refused(NEW)
    subprocess.run(["git", "checkout", "--quiet", "README.md"], cwd=clone, check=True)
    (clone / "compose/compose.yaml").write_text("services: {}\n")
    subprocess.run(["git", "commit", "-aqm", "x"], cwd=clone, env={**os.environ, **AUTHOR}, check=True)
    assert "compose/compose.yaml" in refused(NEW)
