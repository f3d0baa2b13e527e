"""`cdc-daemon config …`: look at a configuration without starting anything."""

from __future__ import annotations

import json

import typer

from cdc_daemon.cli.common import ConfigOption, JsonOption, find_config, load_settings

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Look at the configuration: is it right, what does it come to.",
)


@app.command()
def validate(config: ConfigOption = None) -> None:
    """Check the configuration file alone: keys, values, variables, files of secrets. No server is asked.

    Every mistake is told at once, with its line. Exit code 0: right, 2: mistakes. To check the servers too,
    use **cdc-daemon check**.
    """
    file = find_config(config)
    settings = load_settings(file)
    mapped = ", ".join(f"{name} ({mapping.table} to {mapping.alias})" for name, mapping in settings.mappings.items())
    typer.echo(f"{file}: right; mappings: {mapped}")


@app.command()
def show(config: ConfigOption = None, *, as_json: JsonOption = False) -> None:
    """Show what the daemon would run with: the file, variables and defaults taken together.

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

    In an editor with a YAML language server, put this at the top of the file:

    `# yaml-language-server: $schema=./config.schema.json`
    """
    from cdc_daemon.config import json_schema  # noqa: PLC0415  commands start fast

    typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
