"""The webhook's URL and secret come together, are checked, and are shown nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from cdc_daemon.config import SettingsError, load
from cdc_daemon.config.webhook import WebhookSettings

SECRET = "0123456789abcdef"
URL = "https://alerts.example.org/hooks/a-key"


def test_the_url_and_the_secret_come_together() -> None:
    settings = WebhookSettings.model_validate({"url": URL, "secret": SECRET})
    shown = f"{settings.model_dump(mode='json')} {settings!r} {settings}"
    assert "a-key" not in shown
    assert SECRET not in shown
    assert WebhookSettings().url is None
    for one in ({"url": URL}, {"secret": SECRET}):
        with pytest.raises(ValidationError, match="url and secret together"):
            WebhookSettings.model_validate(one)


@pytest.mark.parametrize(
    "url", ["alerts.example.org", "ftp://alerts.example.org", "https://", "http://[::1", "http://a:0"]
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="expected a URL such as") as refused:
        WebhookSettings.model_validate({"url": url, "secret": SECRET})
    assert refused.value.error_count() == 1


@pytest.mark.parametrize(
    "wrong", [{"url": "nothing"}, {"secret": "short"}, {"events": []}, {"events": ["birthday"]}, {"every": "0s"}]
)
def test_mistakes_name_the_key_and_show_no_secret(tmp_path: Path, wrong: dict[str, Any]) -> None:
    file = tmp_path / "config.yaml"
    section = {"url": URL, "secret": SECRET, **wrong}
    content = {
        "commit_log": {"cdc_raw_directory": "raw"},
        "state": {"directory": "state"},
        "mappings": {"user": {"table": "k.t", "alias": "a"}},
        "webhook": section,
    }
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(SettingsError) as refused:
        load(file)
    (key,) = wrong
    assert f"webhook.{key}" in str(refused.value)
    for secret in (SECRET, "a-key", "short"):
        assert secret not in str(refused.value)


def test_both_are_read_from_files(tmp_path: Path) -> None:
    (tmp_path / "url").write_text(f"{URL}\n")
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    file = tmp_path / "config.yaml"
    file.write_text(
        "commit_log: {cdc_raw_directory: raw}\nstate: {directory: state}\n"
        "mappings: {user: {table: k.t, alias: a}}\nwebhook: {url_file: url, secret_file: secret}\n"
    )
    settings = load(file).webhook
    assert settings.url is not None
    assert settings.secret is not None
    assert settings.url.get_secret_value() == URL
    assert settings.secret.get_secret_value() == SECRET
