"""The Dockerfile, run outside a container: every command of the first stage, and what the second takes over."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cdc_daemon import __version__
from tests.container.dockerfile import read

CHECKOUT = Path(__file__).resolve().parents[2]
_, (BUILD, IMAGE) = read(CHECKOUT / "Dockerfile")
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
            if target.endswith("/"):
                (build / target).mkdir(exist_ok=True)
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
    assert (site / "cdc_http" / "runbook.md").exists()
    assert list((site / "cdc_daemon" / "__pycache__").glob("daemon.*.pyc"))


def test_it_says_what_it_is_made_of(root: Path) -> None:
    bill = json.loads((root / "opt" / "cdc-daemon" / "sbom.cdx.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == "cdc-daemon"
    found = {component["name"].lower().replace("_", "-"): component.get("version") for component in bill["components"]}
    lock = (CHECKOUT / "requirements/runtime.lock").read_text()
    assert found["elasticsearch"] == dict(re.findall(r"^([\w.-]+)==(\S+)", lock, re.MULTILINE))["elasticsearch"]
    assert "pytest" not in found


def test_the_second_stage_takes_over_what_was_made(root: Path) -> None:
    for copied in IMAGE.all("COPY"):
        *options, source, _ = copied.split()
        assert "--from=build" in options
        assert (root / source.lstrip("/")).exists()
