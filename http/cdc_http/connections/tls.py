"""TLS with certificates that are replaced while the daemon runs."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

import structlog

from cdc_daemon.config.file_stamp import file_stamp
from cdc_daemon.config.http import HttpTlsSettings
from cdc_daemon.model.errors import ConfigError

log = structlog.get_logger(__name__)

CHECK_SECONDS = 5.0
"""Seconds between two checks of the files."""


_TLS_1_2 = "ECDHE+AESGCM:ECDHE+CHACHA20:@SECLEVEL=2"
"""Cipher suites of TLS 1.2: with authenticated encryption (AEAD) and forward secrecy only. TLS 1.3 has no others.

OpenSSL's security level 2 refuses RSA keys of fewer than 2,048 bits, of clients as well.
"""


class ReloadingTlsContext:
    """The TLS context of the newest usable files.

    New connections use the new files. A replacement that cannot be used is logged and the previous files stay in use.
    Raises `ConfigError` when the files cannot be used at the start.
    """

    def __init__(self, settings: HttpTlsSettings) -> None:
        self._settings = settings
        self._stamps = self._read_stamps()
        self._current = _load(settings)
        self.context = _load(settings)
        # Called before the certificate is chosen, also when the client names no host: the context that is swapped in
        # here brings its certificate and its trusted authorities.
        self.context.sni_callback = self._swap

    async def run(self, *, pause: float = CHECK_SECONDS) -> None:
        """Check the files for changes until cancelled."""
        while True:
            await asyncio.sleep(pause)
            self.reload()

    def reload(self) -> None:
        """Load the files if they have changed."""
        stamps = self._read_stamps()
        if stamps == self._stamps:
            return
        try:
            self._current = _load(self._settings)
        except ConfigError as error:
            # Perhaps only one of them is replaced yet: the next check tries again.
            log.error("http.certificate_unusable", error=str(error))  # noqa: TRY400 -- the error tells its place
            return
        self._stamps = stamps
        log.info("http.certificate_reloaded", certificate_file=str(self._settings.certificate_file))

    def prepare(self, settings: HttpTlsSettings) -> Callable[[], None]:
        """Load the files of other settings; return the function that puts them to use. Raises `ConfigError`."""
        loaded = _load(settings)

        def use() -> None:
            self._settings = settings
            self._stamps = self._read_stamps()
            self._current = loaded

        return use

    def _swap(self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _context: Any) -> None:
        connection.context = self._current

    def _read_stamps(self) -> Any:
        settings = self._settings
        files = (settings.certificate_file, settings.key_file, settings.client_ca_file)
        return [None if file is None else file_stamp(file) for file in files]


def _load(settings: HttpTlsSettings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_TLS_1_2)
    context.set_alpn_protocols(["http/1.1"])
    # A session made with other authorities must not be resumed.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    place: dict[str, Any] = {"certificate_file": settings.certificate_file, "key_file": settings.key_file}
    try:
        context.load_cert_chain(settings.certificate_file, settings.key_file, password=lambda: "")
        if settings.client_ca_file is not None:
            place = {"client_ca_file": settings.client_ca_file}
            context.load_verify_locations(settings.client_ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ValueError) as error:
        if getattr(error, "reason", None) == "EE_KEY_TOO_SMALL":
            expected, found = "an RSA key of at least 2,048 bits", "a shorter one"
        else:
            expected, found = "certificates and keys in PEM form", getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"expected {expected}, found {found}", hint="correct http.tls", **place) from error
    return context
