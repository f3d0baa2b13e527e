"""Asking a running daemon: where it listens, and the token that lets a caller in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cdc_daemon.cli.common import find_config, load_settings
from cdc_daemon.model.errors import ConfigError

if TYPE_CHECKING:
    from cdc_daemon.cli.client import DaemonClient

UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="CDC_DAEMON_URL",
        help="Where the daemon listens; as the configuration says when absent.",
        show_default=False,
    ),
]

TokenOption = Annotated[
    Path | None,
    typer.Option(
        "--token-file", envvar="CDC_DAEMON_TOKEN_FILE", metavar="FILE", help="A file that holds a bearer token."
    ),
]

AuthorityOption = Annotated[
    Path | None,
    typer.Option(
        "--ca-file", envvar="CDC_DAEMON_CA_FILE", metavar="FILE", help="Authorities (PEM) of the daemon's certificate."
    ),
]

WaitOption = Annotated[
    float,
    typer.Option(
        "--wait", metavar="SECONDS", min=0.0, help="How long a request to the daemon may take, waiting included."
    ),
]


def connect_daemon(
    url: str | None, config: Path | None, token_file: Path | None, ca_file: Path | None, wait: float
) -> DaemonClient:
    """Return a client of the daemon that the command line or the configuration names. Raises `ConfigError`.

    While it waits for the daemon it says so on standard error.
    """
    from cdc_daemon.cli.client import DaemonClient  # noqa: PLC0415  commands start fast

    return DaemonClient(
        url or configured_url(config),
        token=read_token(token_file),
        ca_file=ca_file,
        patience=wait,
        on_wait=lambda reason: typer.echo(reason, err=True),
    )


def read_token(file: Path | None) -> str | None:
    """Return the token that a file holds, None without one. Raises `ConfigError`."""
    if file is None:
        return None
    try:
        token = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise ConfigError("expected a file that holds a token, found one that cannot be read", file=str(file)) from None
    if not token or not token.isprintable():
        raise ConfigError("expected a token of one line, found something else", file=str(file))
    return token


def configured_url(config: Path | None) -> str:
    """Return where the configured daemon listens. Raises `ConfigError`."""
    http = load_settings(find_config(config)).http
    if not http.listens or not http.port:
        raise ConfigError("expected a daemon that listens at a port", hint="name its address with --url")
    host = http.local_host
    return f"{'http' if http.tls is None else 'https'}://{f'[{host}]' if ':' in host else host}:{http.port}"
