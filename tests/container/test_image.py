"""The Dockerfile, run outside a container: every command of the first stage, and what the second takes over."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from cdc_daemon import __version__
from tests.container.dockerfile import read

CHECKOUT = Path(__file__).resolve().parents[2]
BEFORE, (BUILD, IMAGE) = read(CHECKOUT / "Dockerfile")
PROGRAMS = "/usr/local/bin:/usr/bin:/bin"


def run(command: str, *, directory: Path, environment: dict[str, str]) -> str:
    result = subprocess.run(
        ["/bin/sh", "-euc", command],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=600,
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}"
    return result.stdout


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first stage's file system: each COPY and RUN, with its absolute paths moved below a folder."""
    top = tmp_path_factory.mktemp("image")
    (workdir,) = BUILD.all("WORKDIR")
    build = top / workdir.lstrip("/")
    build.mkdir()
    (top / "opt").mkdir()
    # The image's `python` is the one whose environment is made; here it is the one that runs the tests.
    (top / "bin").mkdir()
    (top / "bin" / "python").symlink_to(Path(sys.executable).resolve())
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV", "CDC_"))},
        "PATH": f"{top}/bin:{os.environ['PATH']}",
    }
    for rest in BUILD.all("ENV"):
        for pair in rest.split():
            name, _, value = pair.partition("=")
            environment[name] = value
    del environment["PIP_NO_CACHE_DIR"]  # spares the image's size; here it would only take time
    for word, rest in BUILD.instructions:
        if word == "COPY":
            *sources, target = rest.split()
            for source in sources:
                _copy(CHECKOUT / source, build / target if target != "./" else build / source)
        elif word == "RUN":
            moved = re.sub(r"(?<![\w.}/])/(build|opt)\b", rf"{top}/\1", rest)
            run(moved, directory=build, environment=environment)
    return top


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "compiled"))
    else:
        shutil.copy(source, target)


def image_command(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the image's entry point with nothing else on the PATH than the image has."""
    (entry,) = IMAGE.command("ENTRYPOINT")
    program = shutil.which(entry, path=f"{root}/opt/cdc-daemon/bin")
    assert program is not None
    environment = {"PATH": f"{root}/opt/cdc-daemon/bin:{PROGRAMS}", "HOME": "/nonexistent"}
    return subprocess.run(
        [program, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=120, cwd=root
    )


def test_what_is_made_runs_and_is_compiled(root: Path) -> None:
    told = image_command(root, "version")
    assert told.returncode == 0, told.stderr
    assert f"cdc-daemon {__version__}" in told.stdout
    assert "commit-log reader: compiled" in told.stdout


def test_the_default_command_is_the_daemon(root: Path) -> None:
    helped = image_command(root, *IMAGE.command("CMD"), "--help")
    assert helped.returncode == 0
    assert "Run the daemon" in helped.stdout
    without = image_command(root, *IMAGE.command("CMD"))
    assert without.returncode == 2
    assert "expected a configuration file" in without.stderr


def test_it_holds_what_the_daemon_needs_and_no_tools(root: Path) -> None:
    site = next((root / "opt" / "cdc-daemon" / "lib").glob("python*/site-packages"))
    names = {path.name for path in site.iterdir()}
    assert {"cdc_daemon", "cdc_http", "elasticsearch", "cassandra"} <= names
    assert not names & {"pip", "Cython", "hatchling", "pytest", "mypy", "cyclonedx_py"}
    assert (site / "cdc_http" / "openapi.yaml").exists()
    assert list((site / "cdc_daemon" / "__pycache__").glob("daemon.*.pyc"))


def test_it_says_what_it_is_made_of(root: Path) -> None:
    bill = json.loads((root / "opt" / "cdc-daemon" / "sbom.cdx.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == "cdc-daemon"
    found = {component["name"].lower().replace("_", "-"): component.get("version") for component in bill["components"]}
    lock = (CHECKOUT / "requirements.runtime.lock").read_text()
    assert found["elasticsearch"] == dict(re.findall(r"^([\w.-]+)==(\S+)", lock, re.MULTILINE))["elasticsearch"]
    assert "pytest" not in found


def test_the_second_stage_takes_over_what_was_made(root: Path) -> None:
    for copied in IMAGE.all("COPY"):
        *options, source, _ = copied.split()
        assert "--from=build" in options
        assert (root / source.lstrip("/")).exists()


def test_the_second_stage_runs_nothing_as_nobody_special() -> None:
    assert not IMAGE.all("RUN")
    assert not IMAGE.all("SHELL")
    assert IMAGE.all("USER") == ["999:999"]
    (variables,) = IMAGE.all("ENV")
    assert f"PATH=/opt/cdc-daemon/bin:{PROGRAMS}" in variables
    assert IMAGE.all("STOPSIGNAL") == ["SIGTERM"]


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


@pytest.mark.parametrize(("name", "least"), [("requirements.runtime.lock", 30), ("requirements.build.lock", 3)])
def test_the_images_packages_are_those_that_the_tests_ran_with(name: str, least: int) -> None:
    whole = _pins(CHECKOUT / "requirements.lock")
    part = _pins(CHECKOUT / name)
    assert len(part) >= least
    for package, pinned in part.items():
        assert whole.get(package) == pinned, f"{package} of {name} is not that of requirements.lock: make image-locks"


def test_the_image_has_every_dependency() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    named = {re.split(r"[<>=;\[ ]", each)[0].lower() for each in project["project"]["dependencies"]}
    missing = named - set(_pins(CHECKOUT / "requirements.runtime.lock"))
    assert not missing, "requirements.runtime.lock lacks them: make image-locks"


def _pins(lock: Path) -> dict[str, str]:
    """Package to its version and hashes, whatever Python it is for."""
    entries = re.split(r"\n(?=\S)", lock.read_text().strip())
    pins = (re.sub(r" ; .*", "", entry).replace(" \\", "").partition("==") for entry in entries)
    return {name: pinned for name, _, pinned in pins}
