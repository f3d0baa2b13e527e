"""The peers' port and their token come together, and the token is never shown."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from cdc_daemon.config import PeerSettings

TOKEN = "0123456789abcdef"


def test_the_port_and_the_token_come_together() -> None:
    settings = PeerSettings.model_validate({"port": 9810, "token": TOKEN})
    assert settings.port == 9810
    assert TOKEN not in str(settings.model_dump(mode="json"))
    assert PeerSettings().port is None
    for one in ({"port": 9810}, {"token": TOKEN}):
        with pytest.raises(ValidationError, match="port and token together"):
            PeerSettings.model_validate(one)


def test_a_short_token_is_refused() -> None:
    with pytest.raises(ValidationError, match="at least 16 characters"):
        PeerSettings.model_validate({"port": 9810, "token": TOKEN[1:]})
