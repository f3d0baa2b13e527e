"""Files that commands write."""

from __future__ import annotations

import os
from pathlib import Path

from cdc_daemon.model.errors import CdcError


def write_file(file: Path, text: str, *, what: str, make_folder: bool = False) -> None:
    """Write a file atomically; an existing one keeps its mode. Raises `CdcError`, which calls the content `what`.

    `make_folder` also makes the folders above it.
    """
    part = file.with_name(f".{file.name}.part")
    try:
        if make_folder:
            file.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8") as stream:
            if file.exists():
                os.fchmod(stream.fileno(), file.stat().st_mode & 0o777)
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(file)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise CdcError(f"{what} cannot be written: {error.strerror or error}", file=str(file)) from error
