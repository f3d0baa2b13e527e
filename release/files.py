"""The files of a release. They are made from the tag alone, and twice from one tag they are the same bytes."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Final

from release.changelog import notes
from release.commands import git, run
from release.errors import ReleaseError

CHECKSUMS: Final = "SHA256SUMS"
KEY_VARIABLE: Final = "RELEASE_KEY"
_CHART: Final = Path("k8s") / "chart"


@dataclass(frozen=True, slots=True)
class Result:
    """One part of a release: what was made, or why it was not."""

    part: str
    made: str = ""
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes the files. `source` is the tagged tree without anything else, `output` the folder that gets them."""

    version: str
    revision: str
    epoch: int
    source: Path
    output: Path

    def parts(self) -> Iterator[Result]:
        """Make each part and return its result. Raises `ReleaseError` if one that can be made fails."""
        for make in (self._packages, self._manifests, self._bill, self._notes, self._chart, self._image):
            yield make()
        yield self._checksums()
        yield self._signature()

    def _packages(self) -> Result:
        if not _installed("hatchling"):
            return Result("wheel and sdist", missing="hatchling is not installed: make setup")
        self._python("hatchling", "build", "-t", "wheel", "-t", "sdist", "-d", str(self.output))
        return Result("wheel and sdist", ", ".join(each.name for each in sorted(self.output.glob("cdc_daemon-*"))))

    def _manifests(self) -> Result:
        """Pack the Kubernetes manifests, with the time of the commit."""
        name = f"cdc-daemon-{self.version}-k8s.tar.gz"
        packed = BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for file in sorted((self.source / "k8s").rglob("*")):
                archive.add(
                    file,
                    arcname=f"cdc-daemon-{self.version}/{file.relative_to(self.source)}",
                    recursive=False,
                    filter=self._plain,
                )
        (self.output / name).write_bytes(gzip.compress(packed.getvalue(), mtime=self.epoch))
        return Result("Kubernetes manifests", name)

    def _plain(self, member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.mtime, member.uid, member.gid, member.uname, member.gname = self.epoch, 0, 0, "", ""
        member.mode = 0o755 if member.isdir() else 0o644
        return member

    def _bill(self) -> Result:
        if not _installed("cyclonedx_py"):
            return Result("SBOM", missing="cyclonedx-bom is not installed: make setup")
        name = f"cdc-daemon-{self.version}.cdx.json"
        self._python(
            *("cyclonedx_py", "requirements", "requirements/runtime.lock", "--pyproject", "pyproject.toml"),
            *("--output-format", "JSON", "--output-reproducible", "--output-file", str(self.output / name)),
        )
        return Result("SBOM", f"{name}, of requirements/runtime.lock")

    def _notes(self) -> Result:
        name = f"cdc-daemon-{self.version}.md"
        text = (self.source / "CHANGELOG.md").read_text(encoding="utf-8")
        (self.output / name).write_text(notes(text, self.version), encoding="utf-8")
        return Result("release notes", name)

    def _chart(self) -> Result:
        if not (self.source / _CHART).is_dir():
            return Result("Helm chart", missing="this repository has none; k8s/ has kustomize overlays")
        if shutil.which("helm") is None:
            return Result("Helm chart", missing="helm is not installed")
        words = ("helm", "package", str(_CHART), "--version", self.version, "--app-version", self.version)
        run((*words, "--destination", str(self.output)), folder=self.source)
        return Result("Helm chart", f"cdc-daemon-{self.version}.tgz")

    def _image(self) -> Result:
        program = next(filter(shutil.which, ("docker", "podman")), None)
        if program is None:
            return Result("image", missing="neither docker nor podman is installed")
        answers = subprocess.run([program, "info"], capture_output=True, check=False)  # noqa: S603  one of two names
        if answers.returncode != 0:
            return Result("image", missing=f"{program} is installed, but `{program} info` fails")
        image = f"cdc-daemon:{self.version}"
        created = datetime.fromtimestamp(self.epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        arguments = {"VERSION": self.version, "REVISION": self.revision, "CREATED": created}
        words = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
        run((program, "build", *words, "--tag", image, "."), folder=self.source)
        return Result("image", f"{image}, in the local store of {program}")

    def _checksums(self) -> Result:
        files = sorted(each for each in self.output.iterdir() if each.name != CHECKSUMS)
        lines = (f"{hashlib.sha256(each.read_bytes()).hexdigest()}  {each.name}\n" for each in files)
        (self.output / CHECKSUMS).write_text("".join(lines), encoding="ascii")
        return Result("checksums", f"{CHECKSUMS}, of {len(files)} files")

    def _signature(self) -> Result:
        key = os.environ.get(KEY_VARIABLE)
        if not key:
            return Result("signature", missing=f"{KEY_VARIABLE} names no key of gpg")
        if shutil.which("gpg") is None:
            return Result("signature", missing="gpg is not installed")
        words = ("gpg", "--batch", "--yes", "--local-user", key, "--armor", "--detach-sign", CHECKSUMS)
        run(words, folder=self.output)
        return Result("signature", f"{CHECKSUMS}.asc")

    def _python(self, module: str, *words: str) -> None:
        more = {"SOURCE_DATE_EPOCH": str(self.epoch), "PYTHONPATH": ""}
        run((sys.executable, "-P", "-m", module, *words), folder=self.source, more=more)


def make_files(checkout: Path, version: str, output: Path, *, tell: Callable[[Result], None]) -> list[Result]:
    """Make the files of a tagged version in `output`, which is emptied before. Raises `ReleaseError`."""
    tag = f"v{version}"
    revision = git(checkout, "rev-parse", f"{tag}^{{commit}}")
    epoch = int(git(checkout, "show", "--no-patch", "--format=%ct", revision))
    shutil.rmtree(output, ignore_errors=True)
    source = output / "source"
    source.mkdir(parents=True)
    archive = output / "source.tar"
    git(checkout, "archive", "--output", str(archive), revision)
    with tarfile.open(archive) as packed:
        packed.extractall(source, filter="data")
    archive.unlink()
    files = output / version
    files.mkdir()
    results = []
    for result in Maker(version, revision, epoch, source, files).parts():
        results.append(result)
        tell(result)
    shutil.rmtree(source)
    if not any(files.glob("*.whl")):
        raise ReleaseError("there is no wheel, so there is no release")
    return results


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
