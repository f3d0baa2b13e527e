"""The Dockerfile as it is written: nothing of it is run here, so these tests are cheap and need no network."""

from __future__ import annotations

import fnmatch
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from cdc_daemon import __version__
from tests.container.dockerfile import read

CHECKOUT = Path(__file__).resolve().parents[2]
BEFORE, (BUILD, IMAGE) = read(CHECKOUT / "Dockerfile")
PROGRAMS = "/usr/local/bin:/usr/bin:/bin"


def test_the_second_stage_runs_nothing_as_nobody_special() -> None:
    assert not IMAGE.all("RUN")
    assert not IMAGE.all("SHELL")
    assert IMAGE.all("USER") == ["999:999"]
    (variables,) = IMAGE.all("ENV")
    assert f"PATH=/opt/cdc-daemon/bin:{PROGRAMS}" in variables
    assert IMAGE.all("STOPSIGNAL") == ["SIGTERM"]


def test_nothing_is_fetched_that_is_not_pinned() -> None:
    """A line `# syntax=` would fetch the newest image of that name to read this file."""
    assert "syntax=" not in (CHECKOUT / "Dockerfile").read_text()


def test_pip_takes_an_index_and_an_authority_that_do_not_get_into_the_image() -> None:
    text = re.sub(r"\\\n\s*", "", (CHECKOUT / "Dockerfile").read_text())
    downloads = [line for line in text.splitlines() if "pip" in line and "--require-hashes" in line]
    assert len(downloads) == 2
    for line in downloads:
        assert line.startswith("RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca ")
        assert "required" not in line  # a build without secrets works as before


def test_the_ports_are_those_of_the_manifests() -> None:
    template = yaml.safe_load((CHECKOUT / "k8s/base/pod-template.yaml").read_text())
    (daemon,) = template["template"]["spec"]["initContainers"]
    assert IMAGE.all("EXPOSE") == [" ".join(str(port["containerPort"]) for port in daemon["ports"])]


def test_both_bases_can_be_pinned_by_digest_and_are_of_one_python() -> None:
    arguments = {rest.partition("=")[0] for word, rest in BEFORE if word == "ARG"}
    assert arguments == {"PYTHON_VERSION", "BUILD_DIGEST", "RUNTIME_DIGEST"}
    assert BUILD.base == "python:${PYTHON_VERSION}-bookworm${BUILD_DIGEST:+@${BUILD_DIGEST}}"
    assert IMAGE.base == "python:${PYTHON_VERSION}-slim-bookworm${RUNTIME_DIGEST:+@${RUNTIME_DIGEST}}"


def test_it_is_labelled_as_the_open_container_initiative_wants() -> None:
    (labels,) = IMAGE.all("LABEL")
    names = set(re.findall(r"org\.opencontainers\.image\.(\w+)=", labels))
    assert {"title", "source", "licenses", "version", "revision", "created"} <= names
    assert f"VERSION={__version__}" in IMAGE.all("ARG")


def test_what_is_copied_is_not_ignored_and_nothing_else_is_sent() -> None:
    lines = (CHECKOUT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    kept = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = {source for rest in BUILD.all("COPY") for source in rest.split()[:-1]}
    assert copied == kept
    later = [rule for rule in rules[1:] if not rule.startswith("!")]
    assert any(fnmatch.fnmatch("cdc_daemon/commitlog/compiled", rule) for rule in later)
    assert "**/__pycache__" in later


def test_the_linter_finds_nothing() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    linted = subprocess.run(
        [linter, "--no-color", str(CHECKOUT / "Dockerfile")], capture_output=True, text=True, check=False, timeout=60
    )
    assert (linted.returncode, linted.stdout) == (0, "")


@pytest.mark.parametrize(("name", "least"), [("requirements/runtime.lock", 30), ("requirements/build.lock", 3)])
def test_the_images_packages_are_those_that_the_tests_ran_with(name: str, least: int) -> None:
    whole = _pins(CHECKOUT / "requirements/development.lock")
    part = _pins(CHECKOUT / name)
    assert len(part) >= least
    for package, pinned in part.items():
        assert whole.get(package) == pinned, (
            f"{package} of {name} is not that of requirements/development.lock: make image-locks"
        )


def test_the_image_has_every_dependency() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    named = {re.split(r"[<>=;\[ ]", each)[0].lower() for each in project["project"]["dependencies"]}
    missing = named - set(_pins(CHECKOUT / "requirements/runtime.lock"))
    assert not missing, "requirements/runtime.lock lacks them: make image-locks"


def _pins(lock: Path) -> dict[str, str]:
    """Package to its version and hashes, whatever Python it is for."""
    entries = re.split(r"\n(?=\S)", lock.read_text().strip())
    pins = (re.sub(r" ; .*", "", entry).replace(" \\", "").partition("==") for entry in entries)
    return {name: pinned for name, _, pinned in pins}
