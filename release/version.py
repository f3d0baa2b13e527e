"""The places that name the version of the daemon."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from release.errors import ReleaseError

PLACES: Final = {
    "cdc_daemon/__init__.py": '__version__ = "{}"',
    "Dockerfile": "ARG VERSION={}",
    "compose/compose.yaml": "image: cdc-daemon:{}",
    "k8s/chart/Chart.yaml": "version: {0}\nappVersion: {0}",
    "k8s/base/kustomization.yaml": "newTag: {}",
    "k8s/README.md": "REGISTRY/cdc-daemon:{}",
}
"""Each file that names the version, and the text around it."""

_FORM: Final = re.compile(r"(\d+)\.(\d+)\.(\d+)")


def parse(version: str) -> tuple[int, ...]:
    """Return the numbers of a version. Raises `ReleaseError`."""
    found = _FORM.fullmatch(version)
    if not found:
        raise ReleaseError(f"expected a version such as 1.2.3, found {version!r}")
    return tuple(map(int, found.groups()))


def current(checkout: Path) -> str:
    """Return the version of a checkout. Raises `ReleaseError`."""
    text = (checkout / "cdc_daemon" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'__version__ = "([^"]+)"', text)
    if not found:
        raise ReleaseError("cdc_daemon/__init__.py names no version")
    return found[1]


def replace(checkout: Path, old: str, new: str) -> None:
    """Write the new version in each place. Raises `ReleaseError` for a place that does not name the old one."""
    texts = {}
    for name, form in PLACES.items():
        text = (checkout / name).read_text(encoding="utf-8")
        if text.count(form.format(old)) != 1:
            raise ReleaseError(
                f"expected `{form.format(old)}` once in {name}, found it {text.count(form.format(old))} times"
            )
        texts[name] = text.replace(form.format(old), form.format(new))
    for name, text in texts.items():
        (checkout / name).write_text(text, encoding="utf-8")
