"""Files that are replaced while the daemon runs."""

from __future__ import annotations

from pathlib import Path

from cdc_daemon.config.file_stamp import Stamp, file_stamp
from cdc_daemon.model.errors import ConfigError


class WatchedFile:
    """The current content of a file, None when it is missing. A check costs one `stat`."""

    LARGEST = 1 << 20

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: Stamp = None
        self._content: bytes | None = None

    def require(self, what: str) -> None:
        """Raise `ConfigError` when the file cannot be read."""
        if self.content() is None:
            raise ConfigError(f"expected {what}, found a file that cannot be read", file=str(self._path))

    def content(self) -> bytes | None:
        """Return the file's bytes, None when the file cannot be read."""
        stamp = file_stamp(self._path)
        if stamp != self._stamp:
            self._stamp = stamp
            self._content = self._read()
        return self._content

    def _read(self) -> bytes | None:
        try:
            with self._path.open("rb") as file:
                content = file.read(self.LARGEST + 1)
        except OSError:
            return None
        return content if len(content) <= self.LARGEST else None
