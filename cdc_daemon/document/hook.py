"""Python functions named in the configuration, for what declarations cannot say."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cdc_daemon.model.errors import ConfigError, HookError
from cdc_daemon.values.shown import told

JoinedRows = Mapping[str, Sequence[Mapping[str, Any]]]
"""By a join's field: the rows joined, each with its columns' values as the driver gives them."""

Hook = Callable[[dict[str, Any], Mapping[str, Any], JoinedRows], dict[str, Any] | None]
"""Takes the document as built so far, the row and the joined rows, by the names of their columns and with the
driver's values; returns the document to be written, or None for no document. It is called in the event loop and has
to be quick; for the same arguments it has to return the same."""


def load_hook(name: str) -> Hook:
    """Import a function by `module:function`. Raises `ConfigError` when there is none."""
    module_name, _, path = name.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:
        raise ConfigError(
            f"expected a Python module {module_name!r} for the hook, found {type(error).__name__}: {error}",
            hint="put it where Python finds it, such as a folder in PYTHONPATH",
            hook=name,
        ) from error
    for step in path.split("."):
        found = getattr(found, step, None)
    if not callable(found):
        raise ConfigError(f"expected a function {path!r} in {module_name}, found none", hook=name)
    hook: Hook = found
    return hook


def call_hook(
    name: str, hook: Hook, document: dict[str, Any], row: Mapping[str, Any], joined: JoinedRows
) -> dict[str, Any] | None:
    """Call a hook with a document of its own to change. Raises `HookError` when it raises, or gives no object."""
    try:
        made = hook(copy.deepcopy(document), row, joined)
    except Exception as error:
        raise HookError(f"the hook raised {told(error)}", hook=name) from error
    if made is not None and not isinstance(made, dict):
        raise HookError(f"expected a dict or None of the hook, found {type(made).__name__}", hook=name)
    return made
