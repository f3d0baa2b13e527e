"""What subcommands share: where the configuration is, and how errors look."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from cdc_daemon.model.errors import CdcError, ConfigError
from cdc_daemon.model.printable import printable

if TYPE_CHECKING:
    from cdc_daemon.config import Settings

CONFIG_VARIABLE = "CDC_DAEMON_CONFIG"
"""The environment variable that names the configuration file."""

CONFIG_PLACES = (Path("config.yaml"), Path("/etc/cdc-daemon/config.yaml"))
"""Where the configuration is looked for when neither an option nor the variable names it."""

EXIT_FAILED = 1
"""Exit code: what was asked for could not be done."""

EXIT_CONFIGURATION = 2
"""Exit code: the command line or the configuration has to be corrected first."""

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help=f"The configuration file. Without it: ${CONFIG_VARIABLE}, ./{CONFIG_PLACES[0]} or {CONFIG_PLACES[1]}.",
        show_default=False,
    ),
]

JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON, for machines.")]


def find_config(named: Path | None) -> Path:
    """Return the configuration file to use. Raises `ConfigError` when there is none."""
    if named is not None:
        return named
    if variable := os.environ.get(CONFIG_VARIABLE):
        return Path(variable)
    for place in CONFIG_PLACES:
        if place.is_file():
            return place
    raise ConfigError(
        f"expected a configuration file, found neither {' nor '.join(map(str, CONFIG_PLACES))}",
        hint=f"name it with --config or in {CONFIG_VARIABLE}; config.example.yaml is one to start from",
    )


def load_settings(named: Path | None) -> Settings:
    """Load the configuration. Raises `ConfigError`."""
    from cdc_daemon.config import load  # noqa: PLC0415  pydantic takes its time, and help needs none of it

    return load(find_config(named))


def unexpected(error: Exception) -> CdcError:
    """Return one of our errors for an exception that no command should end with."""
    from cdc_daemon.values.shown import told  # noqa: PLC0415  commands start fast

    return CdcError(
        f"unexpected {' '.join(told(error).split())}",
        hint="this is a defect of cdc-daemon: please report it, with what `cdc-daemon --debug COMMAND` prints",
    )


def report(error: CdcError) -> int:
    """Show an error on standard error, with its place and mend; return the exit code that stands for it."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(Text.assemble(("error: ", "bold red"), printable(error.message, keep="\n")))
    for name, value in error.where.items():
        console.print(Text.assemble((f"  {name.replace('_', ' ')}: ", "dim"), printable(str(value))))
    if error.hint:
        console.print(Text.assemble(("  hint: ", "bold green"), printable(error.hint, keep="\n")))
    return EXIT_CONFIGURATION if isinstance(error, ConfigError) else EXIT_FAILED
