"""The page of commands: written by hand up to a mark, and then every command with its options, as its help has them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import typer

from cdc_daemon.cli.main import app
from reference.markdown import table

MARK: Final = "<!-- `make docs` makes what follows from the command line. -->\n"

_EVERYWHERE: Final = ("--help", "--install-completion", "--show-completion")
"""Options that are described once."""


def commands_page(page: str) -> str:
    """Return the page with its second part made anew."""
    head, mark, _ = page.partition(MARK)
    assert mark, f"docs/commands.md lacks the line {MARK}"
    return f"{head}{MARK}\n## Options\n\n" + "\n".join(_commands()).rstrip() + "\n"


def _commands() -> Iterator[str]:
    yield "Every command has `--help`. `--debug` stands before the command and shows the traceback of an error."
    yield ""
    for path, command in sorted(_leaves(typer.main.get_command(app), ())):
        yield f"### `cdc-daemon {' '.join(path)}`"
        yield ""
        yield re.sub(r"(?<!\n)\n(?!\n)", " ", command.help or "").strip()
        yield ""
        yield from table(("argument or option", "meaning"), map(_parameter, filter(_shown, command.params)))


def _leaves(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Return each command that can be run, with its words."""
    inner = getattr(command, "commands", None)
    if inner is None or (path and command.invoke_without_command):
        yield path, command
    for name, each in (inner or {}).items():
        yield from _leaves(each, (*path, name))


def _shown(parameter: Any) -> bool:
    return not parameter.hidden and not set(parameter.opts) & set(_EVERYWHERE)


def _parameter(parameter: Any) -> tuple[str, str]:
    """Return a parameter's names and its meaning."""
    meaning = parameter.help or ""
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar or parameter.name.upper()}`", meaning
    value = "" if parameter.is_flag else f" {parameter.metavar or parameter.name.upper()}"
    names = ", ".join(f"`{name}{value}`" for name in (*parameter.opts, *parameter.secondary_opts))
    if parameter.show_default and not parameter.is_flag and parameter.default not in (None, ()):
        default = parameter.default
        meaning += f" Default: {getattr(default, 'value', default)}."
    if parameter.envvar:
        meaning += f" Environment variable: `{parameter.envvar}`."
    return names, meaning
