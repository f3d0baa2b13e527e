"""Python functions named in the configuration, for documents that mappings cannot declare."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cdc_daemon.model.errors import ConfigError, HookError
from cdc_daemon.values.messages import error_text

JoinedRows = Mapping[str, Sequence[Mapping[str, Any]]]
"""The joined rows by the join's field. Each row has its column values as the driver returns them."""

Hook = Callable[[dict[str, Any], Mapping[str, Any], JoinedRows], dict[str, Any] | None]
"""Takes the document built so far, the row and the joined rows, by column name and with the driver's values.
Returns the document to write, or None for no document. It runs in the event loop, so it must be fast.
It must be deterministic: equal arguments give equal results."""


def load_hook(name: str) -> Hook:
    """Import a function by `module:function`. Raises `ConfigError` if there is none."""
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
    """Call a hook with its own mutable copy of a document. Raises `HookError` if it raises or returns no object."""
    try:
        made = hook(copy.deepcopy(document), row, joined)
    except Exception as error:
        raise HookError(f"the hook raised {error_text(error)}", hook=name) from error
    if made is not None and not isinstance(made, dict):
        raise HookError(f"expected a dict or None of the hook, found {type(made).__name__}", hook=name)
    return made
