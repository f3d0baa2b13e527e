"""Load the keys of encrypted segments, from files or passwords that a command line or the environment names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from cdc_daemon.commitlog.encryption import Keyring
from cdc_daemon.commitlog.keystore import Keystore
from cdc_daemon.config import CommitLogSettings
from cdc_daemon.model.errors import ConfigError

KEYSTORE_PASSWORD: Final = "CDC_DAEMON_KEYSTORE_PASSWORD"  # noqa: S105 -- the variable's name
KEY_PASSWORD: Final = "CDC_DAEMON_KEY_PASSWORD"  # noqa: S105 -- the variable's name


def open_keyring(keystore: Path | None, password_file: Path | None, key_password_file: Path | None) -> Keyring | None:
    """Open a JCEKS keystore; return None if none is named.

    Passwords come from files, without a newline at the end, or from the environment. The keys' password defaults to
    the keystore's. Raises `ConfigError`.
    """
    if keystore is None:
        if password_file is not None or key_password_file is not None:
            raise ConfigError("expected a keystore with its password", hint="name it with --keystore")
        return None
    password = _password(password_file, KEYSTORE_PASSWORD)
    if password is None:
        raise ConfigError(
            "expected the keystore's password, found none",
            hint=f"put it into a file for --keystore-password-file, or into {KEYSTORE_PASSWORD}",
            keystore=str(keystore),
        )
    return load_keystore(keystore, password, _password(key_password_file, KEY_PASSWORD))


def configured_keyring(settings: CommitLogSettings) -> Keyring | None:
    """Open the keystore that the configuration names; return None if it names none. Raises `ConfigError`."""
    if settings.keystore is None or settings.keystore_password is None:
        return None
    key_password = settings.key_password
    return load_keystore(
        settings.keystore,
        settings.keystore_password.get_secret_value(),
        None if key_password is None else key_password.get_secret_value(),
    )


def load_keystore(keystore: Path, password: str, key_password: str | None) -> Keystore:
    """Open a JCEKS keystore file. Raises `ConfigError`."""
    try:
        data = keystore.read_bytes()
    except OSError as error:
        raise ConfigError(f"expected a keystore, found {error.strerror}", keystore=str(keystore)) from error
    try:
        return Keystore(data, password, key_password)
    except ConfigError as error:
        error.where.setdefault("keystore", str(keystore))
        raise


def _password(file: Path | None, variable: str) -> str | None:
    if file is None:
        return os.environ.get(variable) or None
    try:
        return file.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "bytes that are not UTF-8"
        raise ConfigError(f"expected a password, found {reason}", file=str(file)) from error
