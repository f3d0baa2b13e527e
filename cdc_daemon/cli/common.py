"""What the commands share: options, the configuration, the connection to a daemon, error messages, exit codes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from cdc_daemon.model.errors import CdcError, ConfigError
from cdc_daemon.model.text import printable

if TYPE_CHECKING:
    from cdc_daemon.cli.client import DaemonClient
    from cdc_daemon.cli.local_daemon import LocalDaemon
    from cdc_daemon.config import Settings

CONFIG_VARIABLE = "CDC_DAEMON_CONFIG"
"""The environment variable that names the configuration file."""

CONFIG_PLACES = (Path("config.yaml"), Path("/etc/cdc-daemon/config.yaml"))
"""The default paths of the configuration file, used if neither the option nor the environment variable is set."""

EXIT_FAILED = 1
"""Exit code: the command failed."""

EXIT_CONFIGURATION = 2
"""Exit code: the command line or the configuration is wrong."""

LARGEST_ID = 2**63 - 1
"""The largest id that SQLite gives to a row."""

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help=f"The configuration file. Default: ${CONFIG_VARIABLE}, ./{CONFIG_PLACES[0]} or {CONFIG_PLACES[1]}.",
        show_default=False,
    ),
]

JsonOption = Annotated[bool, typer.Option("--json", help="Write the result as JSON.")]

UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="CDC_DAEMON_URL",
        help="The daemon's address, such as http://127.0.0.1:8080. Default: the control socket in the state directory, "
        "which needs no token, or else the address in the configuration.",
        show_default=False,
    ),
]

TokenOption = Annotated[
    Path | None,
    typer.Option(
        "--token-file", envvar="CDC_DAEMON_TOKEN_FILE", metavar="FILE", help="A file that contains the bearer token."
    ),
]

AuthorityOption = Annotated[
    Path | None,
    typer.Option(
        "--ca-file",
        envvar="CDC_DAEMON_CA_FILE",
        metavar="FILE",
        help="CA certificates (PEM) for the daemon's certificate.",
    ),
]

WaitOption = Annotated[
    float,
    typer.Option(
        "--wait", metavar="SECONDS", min=0.0, help="The total time for a request to the daemon, retries included."
    ),
]


def find_config(named: Path | None) -> Path:
    """Return the path of the configuration file. Raises `ConfigError` if there is none."""
    if named is not None:
        return named
    if variable := os.environ.get(CONFIG_VARIABLE):
        return Path(variable)
    for place in CONFIG_PLACES:
        if place.is_file():
            return place
    raise ConfigError(
        f"expected a configuration file, found neither {' nor '.join(map(str, CONFIG_PLACES))}",
        hint=f"set its path with --config or {CONFIG_VARIABLE}; `cdc-daemon init` makes one",
    )


def load_settings(named: Path | None) -> Settings:
    """Load the configuration. Raises `ConfigError`."""
    from cdc_daemon.config import load  # noqa: PLC0415  pydantic takes its time, and help needs none of it

    return load(find_config(named))


def connect_daemon(
    url: str | None, config: Path | None, token_file: Path | None, ca_file: Path | None, wait: float
) -> DaemonClient:
    """Return a client of the daemon at the address on the command line or in the configuration. Raises `ConfigError`.

    Without an address or a token on the command line, the control socket in the state directory is preferred. While the
    client waits for the daemon, it prints the reason on standard error.
    """
    from cdc_daemon.cli.client import DaemonClient  # noqa: PLC0415  commands start fast

    local = find_local_daemon(config) if url is None and token_file is None else None
    try:
        address = url or configured_url(config)
    except ConfigError:
        if local is None or not local.path.exists():
            raise
        address = None
    return DaemonClient(
        address,
        local=local,
        token=read_token(token_file),
        ca_file=ca_file,
        patience=wait,
        on_wait=lambda reason: typer.echo(reason, err=True),
    )


def find_local_daemon(config: Path | None) -> LocalDaemon | None:
    """Return the daemon of the configured state directory; None if the configuration names none."""
    from cdc_daemon.cli.local_daemon import LocalDaemon  # noqa: PLC0415  commands start fast
    from cdc_daemon.config.loading import read_state_directory  # noqa: PLC0415  likewise

    directory = read_state_directory(find_config(config))
    return None if directory is None else LocalDaemon(directory)


def read_token(file: Path | None) -> str | None:
    """Return the token in a file, or None without a file. Raises `ConfigError`."""
    if file is None:
        return None
    try:
        token = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise ConfigError("expected a file with a token, found one that cannot be read", file=str(file)) from None
    if not token or not token.isprintable():
        raise ConfigError("expected one line with a token, found something else", file=str(file))
    return token


def configured_url(config: Path | None) -> str:
    """Return the URL of the configured daemon. Raises `ConfigError`."""
    http = load_settings(find_config(config)).http
    if not http.listens or not http.port:
        raise ConfigError(
            "expected a daemon that listens on a port, found http switched off in the configuration",
            hint="set the daemon's address with --url",
        )
    host = http.local_host
    return f"{'http' if http.tls is None else 'https'}://{f'[{host}]' if ':' in host else host}:{http.port}"


def unexpected(error: Exception) -> CdcError:
    """Return a `CdcError` for an exception that is a defect of the program."""
    from cdc_daemon.values.messages import error_text  # noqa: PLC0415  commands start fast

    return CdcError(
        f"unexpected {' '.join(error_text(error).split())}",
        hint="this is a defect of cdc-daemon; please report it with the output of `cdc-daemon --debug COMMAND`",
    )


def report(error: CdcError) -> int:
    """Print an error with its context and hint on standard error, and return its exit code."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(Text.assemble(("error: ", "bold red"), printable(error.message, keep="\n")))
    for name, value in error.where.items():
        console.print(Text.assemble((f"  {name.replace('_', ' ')}: ", "dim"), printable(str(value))))
    if error.hint:
        console.print(Text.assemble(("  hint: ", "bold green"), printable(error.hint, keep="\n")))
    return EXIT_CONFIGURATION if isinstance(error, ConfigError) else EXIT_FAILED
