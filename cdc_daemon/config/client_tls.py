"""TLS of connections to servers, with certificates and keys that are replaced while the daemon runs."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import structlog

from cdc_daemon.config.file_stamp import Stamp, file_stamp
from cdc_daemon.model.errors import ConfigError

log = structlog.get_logger(__name__)

_REPEAT_SECONDS = 300.0

Load = Callable[[], ssl.SSLContext]
"""Makes a context of the files as they are now. Raises `ConfigError` if they cannot be used."""


class ReloadingClientContext(ssl.SSLContext):
    """The TLS context of the newest usable files: each new connection checks whether they have changed.

    If the new files cannot be used (perhaps only one of them is replaced yet), the previous ones stay in use, and the
    next connection tries again. Open connections continue.
    """

    _load: Load
    _files: Sequence[Path]
    _server: str
    _stamps: Sequence[Stamp]
    _current: ssl.SSLContext

    def __new__(cls, *_arguments: Any, **_options: Any) -> Self:
        """Make the outer context, which only passes connections on to the one that was loaded last."""
        return super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)

    def __init__(self, load: Load, files: Sequence[Path | None], *, server: str) -> None:
        """Load the files; `server` names the server in the log. Raises `ConfigError`."""
        self._load = load
        self._files = [file for file in files if file is not None]
        self._server = server
        self._stamps = self._read_stamps()
        self._current = load()
        # Libraries read these two: whether to give a server's name, and whether certificates are verified.
        self.check_hostname = self._current.check_hostname
        self.verify_mode = self._current.verify_mode

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        """Encrypt a connection with the newest files."""
        return self._newest().wrap_socket(*arguments, **options)

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """Encrypt a connection of an event loop with the newest files."""
        return self._newest().wrap_bio(*arguments, **options)

    def get_ca_certs(self, binary_form: Any = False) -> Any:  # noqa: FBT002 -- as the base class has it
        """Return the trusted authorities of the files that were loaded last."""
        return self._current.get_ca_certs(binary_form)

    def _newest(self) -> ssl.SSLContext:
        stamps = self._read_stamps()
        if stamps != self._stamps:
            try:
                self._current = self._load()
            except ConfigError as error:
                log.error(  # noqa: TRY400 -- the error names the file
                    "tls.files_unusable", server=self._server, error=error, every=_REPEAT_SECONDS, every_key=str(error)
                )
            else:
                self._stamps = stamps
                log.info("tls.files_reloaded", server=self._server, files=[str(file) for file in self._files])
        return self._current

    def _read_stamps(self) -> Sequence[Stamp]:
        return [file_stamp(file) for file in self._files]
