"""`cdc-daemon config …`: check and show a configuration without starting the daemon."""

from __future__ import annotations

import json

import typer

from cdc_daemon.cli.common import ConfigOption, JsonOption, find_config, load_settings

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Check the configuration file, and show its effective values and its schema.",
)


@app.command()
def validate(config: ConfigOption = None) -> None:
    """Check the configuration file: keys, values, environment variables, and files of secrets.

    All mistakes are reported at once, with their lines. No server is contacted; use **cdc-daemon check** for that.
    Exit code 0: valid, 2: mistakes.
    """
    file = find_config(config)
    settings = load_settings(file)
    mapped = ", ".join(f"{name} ({mapping.table} to {mapping.alias})" for name, mapping in settings.mappings.items())
    typer.echo(f"{file}: valid; mappings: {mapped}")


@app.command()
def show(config: ConfigOption = None, *, as_json: JsonOption = False) -> None:
    """Show the effective configuration: the file with environment variables and defaults.

    Secrets are shown as stars.
    """
    import yaml  # noqa: PLC0415  commands start fast

    redacted = load_settings(config).redacted()
    if as_json:
        typer.echo(json.dumps(redacted, indent=2, ensure_ascii=False))
    else:
        typer.echo(yaml.safe_dump(redacted, sort_keys=False, allow_unicode=True, width=110), nl=False)


@app.command()
def schema() -> None:
    """Write the JSON Schema of the configuration file, for editors and deployment checks.

    For an editor with a YAML language server, write this at the top of the file:

    `# yaml-language-server: $schema=./config.schema.json`
    """
    from cdc_daemon.config import json_schema  # noqa: PLC0415  commands start fast

    typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
