"""The settings of the questions between the daemons of one ring."""

from __future__ import annotations

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from cdc_daemon.config.base import ConfigPath, SettingsSection, wrong

_SHORTEST_TOKEN = 16
"""The minimum length of the shared token, in characters."""


class PeerSettings(SettingsSection):
    """The other daemons of the datacenter, one beside each node. They are found through the ring."""

    port: int | None = Field(default=None, ge=1, le=65535)
    """The port on which the daemons answer each other, the same for all. Questions and answers are signed with the
    token and hold no data of rows. Default: the daemon neither asks nor answers others."""
    host: str = Field(default="0.0.0.0", min_length=1)  # noqa: S104 -- strangers cannot ask: questions are signed
    """The address to listen on: one that the other nodes reach at the address of this daemon's node."""
    addresses: tuple[str, ...] = ()
    """Names or addresses of daemons without a node of their own (`tail: off`), such as a headless service: they divide
    the polled tables among each other. Default: the daemons beside the ring's nodes."""
    token: SecretStr | None = Field(default=None, validate_default=True)
    """The token that all daemons of the ring share. It is never sent. Prefer `token_file`."""
    token_file: ConfigPath | None = None
    """A file that holds the token."""

    @field_validator("token")
    @classmethod
    def _token_goes_with_port(cls, token: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if "port" in info.data and (info.data["port"] is None) != (token is None):
            raise wrong("expected port and token together, or neither", hint="token_file names a file with the token")
        if token is not None and len(token.get_secret_value()) < _SHORTEST_TOKEN:
            raise wrong(
                f"expected a token of at least {_SHORTEST_TOKEN} characters",
                hint="openssl rand -hex 32 prints a good one",
            )
        return token
