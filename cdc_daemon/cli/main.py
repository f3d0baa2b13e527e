"""The command line. Modules that take their time to import are imported by the commands that need them."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cdc_daemon import __version__
from cdc_daemon.cli import (
    check,
    config,
    dead_letters,
    indices,
    jobs,
    metrics,
    preview,
    reconcile,
    schema,
    segments,
    status,
    sync,
)
from cdc_daemon.cli.common import EXIT_CONFIGURATION, EXIT_FAILED, ConfigOption, load_settings, report, unexpected
from cdc_daemon.model.errors import CdcError

app = typer.Typer(
    name="cdc-daemon",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Keeps Elasticsearch equal to Cassandra: tails the CDC commit log of the node it runs beside, reads "
    "the changed rows back, and writes their documents.\n\n"
    "Start with a configuration file (config.example.yaml), then **cdc-daemon check**, then "
    "**cdc-daemon run**.",
)
app.add_typer(config.app, name="config")
app.add_typer(segments.app, name="segments")
app.add_typer(schema.app, name="schema")
app.add_typer(dead_letters.app, name="dead-letters")
app.command("check")(check.check)
app.command("status")(status.status)
app.command("pause")(status.pause)
app.command("resume")(status.resume)
app.add_typer(jobs.app, name="jobs")
app.command("sync")(sync.sync)
app.command("preview")(preview.preview)
app.command("backfill")(jobs.backfill)
app.command("reconcile")(reconcile.reconcile)
app.command("indices")(indices.indices)
app.command("rollback")(indices.rollback)
app.command("drop-index")(indices.drop_index)
app.command("metrics")(metrics.metrics)


@app.callback()
def options(
    context: typer.Context,
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Keep the options that stand before the command."""
    if context.obj is not None:
        context.obj["debug"] = debug


@app.command()
def run(config: ConfigOption = None) -> None:
    """Run the daemon until SIGTERM or SIGINT, which let what is under way end; a second one ends at once.

    SIGHUP is ignored, also when a terminal closes. SIGUSR1 switches to debug logging, SIGUSR2 restores the configured
    level.

    It may be killed at any moment: what is not acknowledged is read again at the next start. Servers that are
    down are waited for. Logs go to standard error. Exit code 0: ended as asked, 1: failed, 2: the
    configuration is wrong.
    """
    import asyncio  # noqa: PLC0415  commands start fast

    settings = load_settings(config)
    from cdc_daemon.app import daemon  # noqa: PLC0415  likewise, and a wrong configuration is told sooner
    from cdc_daemon.telemetry import logs  # noqa: PLC0415  likewise, and a wrong configuration is told sooner

    logs.configure(settings.log)
    raise typer.Exit(asyncio.run(daemon.run(settings)))


@app.command()
def version() -> None:
    """Show the versions of the daemon and of what it runs on, for a bug report."""
    import platform  # noqa: PLC0415  commands start fast
    from importlib.metadata import version as installed  # noqa: PLC0415  likewise

    from cdc_daemon.commitlog.implementation import implementation  # noqa: PLC0415  likewise

    typer.echo(f"cdc-daemon {__version__}")
    typer.echo(f"python {platform.python_version()} ({platform.python_implementation()}), {platform.platform()}")
    typer.echo(f"commit-log reader: {implementation()}")
    for package in ("cassandra-driver", "elasticsearch", "orjson", "pydantic", "starlette", "uvicorn"):
        typer.echo(f"{package} {installed(package)}")


def main() -> None:
    """Run the command line; an expected error is one message on standard error, not a traceback."""
    state = {"debug": False}
    try:
        app(obj=state)
    except CdcError as error:
        if state["debug"]:
            raise
        sys.exit(report(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if state["debug"]:
            raise
        sys.exit(report(unexpected(error)))


__all__ = ["EXIT_CONFIGURATION", "EXIT_FAILED", "app", "main"]
