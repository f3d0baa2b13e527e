"""Downloads a server's jars from Maven Central into the cache, once."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from xml.sax.saxutils import escape

from sandbox.artifacts import ArtifactSet
from sandbox.cache import cache_directory, exclusive
from sandbox.errors import SandboxError

DEPENDENCY_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"

_TAIL_LINES = 15

_ALONE = "<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>"
"""What makes Maven resolve an artifact without what it depends on."""


def silent(_line: str) -> None:
    """Print nothing: the default for `progress`."""


def fetch(sets: Iterable[ArtifactSet], *, progress: Callable[[str], None] = silent) -> None:
    """Download the jars of all `sets` that are not in the cache yet.

    What is there already costs nothing and needs no network. Several processes may fetch at once: one
    downloads, the others wait for it. A set appears as a whole, by a rename, so an interrupted download
    never leaves half of one. `progress` gets one line for people at each step.

    Raises SandboxError when Maven is missing or fails.
    """
    missing = [artifacts for artifacts in sets if not artifacts.marker.exists()]
    if not missing:
        return
    cache = cache_directory()
    with exclusive(cache / "fetch.lock"):
        for artifacts in missing:
            if not artifacts.marker.exists():
                _download(artifacts, progress)
        # Only copies are used from here on. After a failure the repository stays: the next try resumes.
        shutil.rmtree(_repository(), ignore_errors=True)


def _repository() -> Path:
    return cache_directory() / "maven-repository"


def _download(artifacts: ArtifactSet, progress: Callable[[str], None]) -> None:
    progress(f"{artifacts.title}: downloading from Maven Central ...")
    began = time.monotonic()
    partial = artifacts.directory.with_name(f".{artifacts.directory.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    pom = partial / "pom.xml"
    pom.write_text(pom_text(artifacts), encoding="utf-8")
    run_maven(maven_command(pom, partial / "lib"), artifacts)
    jars = sorted(path.name for path in (partial / "lib").iterdir() if path.suffix in {".jar", ".zip"})
    if not jars:
        raise SandboxError(f"Maven copied no jars of {artifacts.title}")
    pom.unlink()
    (partial / artifacts.marker.name).write_text("\n".join(jars) + "\n", encoding="utf-8")
    shutil.rmtree(artifacts.directory, ignore_errors=True)
    partial.rename(artifacts.directory)
    size = sum(path.stat().st_size for path in artifacts.library.iterdir()) / 1e6
    progress(f"{artifacts.title}: {len(jars)} jars, {size:.0f} MB, {time.monotonic() - began:.0f} s")


def pom_text(artifacts: ArtifactSet) -> str:
    """Return a Maven project whose dependencies are the set's artifacts and nothing else."""
    dependencies = []
    for coordinate in artifacts.coordinates:
        group, artifact, version, *kind = (escape(part) for part in coordinate.split(":"))
        dependencies.append(
            f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version>"
            f"{''.join(f'<type>{each}</type>' for each in kind)}{'' if artifacts.transitive else _ALONE}</dependency>"
        )
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        "<groupId>sandbox</groupId><artifactId>sandbox</artifactId><version>1</version>"
        f"<packaging>pom</packaging><dependencies>{''.join(dependencies)}</dependencies></project>\n"
    )


def maven_command(pom: Path, destination: Path) -> list[str]:
    """Return the command that copies a project's runtime class path into `destination`.

    Maven's own repository lies in the cache too, so that nothing outside of it is written.
    """
    return [
        "mvn",
        "--batch-mode",
        "--quiet",
        "-Dstyle.color=never",
        f"-Dmaven.repo.local={_repository()}",
        f"--file={pom}",
        f"{DEPENDENCY_PLUGIN}:copy-dependencies",
        "-DincludeScope=runtime",
        f"-DoutputDirectory={destination}",
    ]


def run_maven(command: list[str], artifacts: ArtifactSet) -> None:
    """Run Maven quietly; when it fails, raise SandboxError with the end of what it said."""
    try:
        result = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
    except FileNotFoundError:
        raise SandboxError(
            "expected the command mvn, found none on the PATH", hint="install Maven (Debian: maven)"
        ) from None
    if result.returncode != 0:
        lines = [line for line in result.stdout.decode(errors="replace").splitlines() if line.strip("\x1b[0m ")]
        tail = "\n".join(f"  {line}" for line in lines[-_TAIL_LINES:])
        raise SandboxError(
            f"Maven could not download {artifacts.title}, it ended with code {result.returncode}:\n{tail}\n",
            hint="is Maven Central reachable? Behind a proxy or mirror, set it up in ~/.m2/settings.xml;"
            " the next try resumes",
        )
