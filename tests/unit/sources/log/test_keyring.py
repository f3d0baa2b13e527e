"""A keystore is opened with its password, or the error says what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc_daemon.model.errors import ConfigError
from cdc_daemon.sources.log.keyring import open_keyring


class TestKeyring:
    def test_none_is_asked_for(self) -> None:
        assert open_keyring(None, None, None) is None

    def test_a_password_without_a_keystore(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="expected a keystore"):
            open_keyring(None, tmp_path / "password", None)

    def test_a_keystore_without_a_password(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("CDC_DAEMON_KEYSTORE_PASSWORD", raising=False)
        with pytest.raises(ConfigError, match="password, found none"):
            open_keyring(tmp_path / "keys.jceks", None, None)

    def test_files_that_cannot_be_read(self, tmp_path: Path) -> None:
        (tmp_path / "password").write_text("hunter2")
        with pytest.raises(ConfigError, match="expected a keystore") as caught:
            open_keyring(tmp_path / "absent", tmp_path / "password", None)
        assert "hunter2" not in str(caught.value)
        with pytest.raises(ConfigError, match="expected a password"):
            open_keyring(tmp_path / "absent", tmp_path / "no-password", None)

    def test_another_kind_of_keystore(self, tmp_path: Path) -> None:
        (tmp_path / "password").write_text("hunter2")
        (tmp_path / "keys").write_bytes(b"\x30\x82" + bytes(100))
        with pytest.raises(ConfigError, match="expected a JCEKS keystore") as caught:
            open_keyring(tmp_path / "keys", tmp_path / "password", None)
        assert caught.value.where["keystore"] == str(tmp_path / "keys")
