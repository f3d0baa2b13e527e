"""The settings of the webhook: where events are posted that people must know."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from cdc_daemon.config.base import ConfigPath, SettingsSection, wrong
from cdc_daemon.config.units import Duration

WebhookEvent = Literal["dead_letter", "gap", "drift", "quarantined_segment", "stalled"]
"""An event that is posted."""

EVENTS: tuple[WebhookEvent, ...] = ("dead_letter", "gap", "drift", "quarantined_segment", "stalled")

_SHORTEST_SECRET = 16


class WebhookSettings(SettingsSection):
    """A webhook: events that people must know are posted to it as signed JSON."""

    url: SecretStr | None = None
    """The URL that events are posted to. It is treated as a secret, because many services put a key into it. Default:
    nothing is posted."""
    url_file: ConfigPath | None = None
    """A file that holds the URL."""
    secret: SecretStr | None = Field(default=None, validate_default=True)
    """The secret of the signature (HMAC with SHA-256): a text of at least 16 characters, or `whsec_` and the key in
    base64. The receiver knows it too. Prefer `secret_file`."""
    secret_file: ConfigPath | None = None
    """A file that holds the secret."""
    ca_file: ConfigPath | None = None
    """CA certificates (PEM) for the receiver's certificate. Default: those of the system."""
    events: tuple[WebhookEvent, ...] = Field(default=EVENTS, min_length=1)
    """The events that are posted."""
    every: Duration = 60.0
    """The shortest time between two posts of the same event. What happens in between is counted in the next one."""
    stalled_after: Duration = 300.0
    """The time without an acknowledged change, while changes wait, after which the daemon counts as stalled."""
    timeout: Duration = 10.0
    """The time that the receiver has to answer."""

    @field_validator("url")
    @classmethod
    def _is_a_url(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            try:
                parts = urlsplit(url.get_secret_value())
                usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
            except ValueError:
                usable = False
            if not usable:
                raise wrong("expected a URL such as https://alerts.example.org/cdc")
        return url

    @field_validator("secret")
    @classmethod
    def _secret_goes_with_url(cls, secret: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if "url" in info.data and (info.data["url"] is None) != (secret is None):
            raise wrong("expected url and secret together, or neither", hint="secret_file names a file with the secret")
        if secret is not None and len(secret.get_secret_value()) < _SHORTEST_SECRET:
            raise wrong(
                f"expected a secret of at least {_SHORTEST_SECRET} characters",
                hint="openssl rand -hex 32 prints a good one",
            )
        return secret
