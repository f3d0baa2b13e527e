"""The command line. Modules that import slowly are imported inside the commands that need them."""

from __future__ import annotations

import sys
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cdc_daemon import __version__
from cdc_daemon.cli import (
    check,
    config,
    dead_letters,
    indices,
    init,
    jobs,
    metrics,
    preview,
    reconcile,
    reload,
    schema,
    segments,
    status,
    sync,
)
from cdc_daemon.cli.common import (
    EXIT_CONFIGURATION,
    EXIT_FAILED,
    ConfigOption,
    find_config,
    load_settings,
    report,
    unexpected,
)
from cdc_daemon.model.errors import CdcError

if TYPE_CHECKING:
    from cdc_daemon.config import Settings

app = typer.Typer(
    name="cdc-daemon",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Keeps Elasticsearch and OpenSearch equal to Cassandra: follows the CDC commit log of the node that it runs "
    "beside, reads the changed rows, and writes their documents.\n\n"
    "To begin, use **cdc-daemon init**, **cdc-daemon check** and **cdc-daemon run**.",
)
app.add_typer(config.app, name="config")
app.add_typer(segments.app, name="segments")
app.add_typer(schema.app, name="schema")
app.add_typer(dead_letters.app, name="dead-letters")
app.command("init")(init.init)
app.command("check")(check.check)
app.command("status")(status.status)
app.command("pause")(status.pause)
app.command("resume")(status.resume)
app.command("reload")(reload.reload)
app.add_typer(jobs.app, name="jobs")
app.command("sync")(sync.sync)
app.command("preview")(preview.preview)
app.command("backfill")(jobs.backfill)
app.command("reconcile")(reconcile.reconcile)
app.command("indices")(indices.indices)
app.command("rollback")(indices.rollback)
app.command("drop-index")(indices.drop_index)
app.command("metrics")(metrics.metrics)


def _show_version(wanted: bool) -> None:  # noqa: FBT001  Typer calls it so
    if wanted:
        typer.echo(f"cdc-daemon {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[  # noqa: ARG001  its callback acts
        bool,
        typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show_version),
    ] = False,
) -> None:
    """Store the options that precede the command."""
    if context.obj is not None:
        context.obj["debug"] = debug


@app.command()
def run(
    config: ConfigOption = None,
    *,
    wait_for_config: Annotated[
        bool,
        typer.Option(
            "--wait-for-config",
            help="If the configuration is missing or wrong, do not exit: report it, read it again, and start when it "
            "is right.",
        ),
    ] = False,
    health_port: Annotated[
        int | None,
        typer.Option(
            "--health-port",
            metavar="PORT",
            min=1,
            max=65535,
            help="The port of /livez, /readyz and /metrics while --wait-for-config waits. "
            "Default: http.health_port, if the file can be read.",
            show_default=False,
        ),
    ] = None,
    watch_config: Annotated[
        bool,
        typer.Option(
            "--watch-config/--no-watch-config",
            envvar="CDC_DAEMON_WATCH_CONFIG",
            help="Reload the configuration by itself when its file, or a file that it names, has changed.",
        ),
    ] = False,
) -> None:
    """Run the daemon until SIGTERM or SIGINT. It then completes the changes in flight; a second signal ends it at once.

    SIGHUP reloads the configuration, as `cdc-daemon reload` does. SIGUSR1 switches to debug logging, SIGUSR2 restores
    the configured level.

    The daemon may be killed at any time: changes that are not acknowledged are replayed after the restart. It waits for
    servers that are down. The log goes to standard error. Exit code 0: stopped by a signal, 1: failed, 2: the
    configuration is wrong.
    """
    if wait_for_config:
        from cdc_daemon.app import daemon, event_loop  # noqa: PLC0415  commands start fast
        from cdc_daemon.app.config_wait import ConfigWait  # noqa: PLC0415  likewise

        def run_daemon(settings: Settings) -> Coroutine[Any, Any, int]:
            return daemon.run(settings, find_config(config), watch=watch_config)

        wait = ConfigWait(lambda: load_settings(config), run_daemon, health_port=health_port)
        raise typer.Exit(event_loop.run(wait.run()))
    settings = load_settings(config)
    from cdc_daemon.app import (  # noqa: PLC0415  likewise, and mistakes in the configuration are reported sooner
        daemon,
        event_loop,
    )
    from cdc_daemon.telemetry import logs  # noqa: PLC0415  likewise

    logs.configure(settings.log)
    raise typer.Exit(event_loop.run(daemon.run(settings, find_config(config), watch=watch_config)))


@app.command()
def version(
    config: ConfigOption = None,
    *,
    servers: Annotated[
        bool, typer.Option("--servers", help="Also ask Cassandra and the search engine of the configuration.")
    ] = False,
) -> None:
    """Show the versions of the daemon, Python and the most important libraries, for a bug report.

    Without **--servers** no server is asked, and no configuration is needed.
    """
    import platform  # noqa: PLC0415  commands start fast
    from importlib.metadata import version as installed  # noqa: PLC0415  likewise

    from cdc_daemon.app import event_loop  # noqa: PLC0415  likewise
    from cdc_daemon.commitlog.implementation import implementation  # noqa: PLC0415  likewise

    typer.echo(f"cdc-daemon {__version__}")
    typer.echo(f"python {platform.python_version()} ({platform.python_implementation()}), {platform.platform()}")
    typer.echo(f"commit-log reader: {implementation()}")
    typer.echo(f"event loop: {event_loop.describe()}")
    for package in ("cassandra-driver", "elasticsearch", "orjson", "pydantic", "starlette", "uvicorn"):
        typer.echo(f"{package} {installed(package)}")
    if servers:
        from cdc_daemon.cli.server_versions import server_versions  # noqa: PLC0415  likewise
        from cdc_daemon.telemetry.logs import quiet_logs  # noqa: PLC0415  likewise

        quiet_logs()
        for line in server_versions(load_settings(config)):
            typer.echo(line)


def main() -> None:
    """Run the command line. An expected error is shown as a message on standard error, not as a traceback."""
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
