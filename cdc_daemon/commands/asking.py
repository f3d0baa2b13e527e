"""Asking a running daemon: where it listens, and the token that lets a caller in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cdc_daemon.commands.common import find_config, load_settings
from cdc_daemon.errors import ConfigError

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
    float, typer.Option("--wait", metavar="SECONDS", help="How long to wait for a server that is away or busy.")
]


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
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(http.host, http.host)  # noqa: S104 -- not bound to, asked
    return f"{'http' if http.tls is None else 'https'}://{f'[{host}]' if ':' in host else host}:{http.port}"
