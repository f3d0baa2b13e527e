"""A YAML file, with the line number of each value.

PyYAML follows YAML 1.1, where `no`, `on` and `08:30` are not texts, and silently uses the last of two equal keys. Here
plain values follow the core schema of YAML 1.2, and a duplicate key is a mistake.
https://yaml.org/spec/1.2.2/#103-core-schema
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from cdc_daemon.config.mistakes import KeyPath, Mistake


class _CoreLoader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  as PyYAML declares it


_CORE_SCHEMA = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    "merge": (r"<<", ["<"]),
}
for _kind, (_pattern, _first) in _CORE_SCHEMA.items():
    _CoreLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(rf"^(?:{_pattern})$"), _first)


def _construct_int(loader: _CoreLoader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    return int(text, 0) if text.startswith(("0o", "0x")) else int(text)


_CoreLoader.add_constructor("tag:yaml.org,2002:int", _construct_int)


class YamlFile:
    """A parsed file. `value` is its content, `mistakes` are its syntax errors and duplicate keys."""

    def __init__(self, text: str) -> None:
        self.value: Any = None
        self.mistakes: list[Mistake] = []
        self._lines: dict[KeyPath, int] = {}
        try:
            self._read(text)
        except yaml.MarkedYAMLError as error:
            # The mark can contain the text of the line, and so a secret. Only the line number is reported.
            mark = error.problem_mark or error.context_mark
            what = ", ".join(part for part in (error.context, error.problem) if part)
            self.mistakes.append(Mistake((), f"expected YAML, {what}", line=None if mark is None else mark.line + 1))
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            self.mistakes.append(Mistake((), f"expected YAML, found {type(error).__name__}"))

    def line(self, path: KeyPath) -> int | None:
        """Return the line of a value, or of the innermost enclosing value that the file contains."""
        while path not in self._lines and path:
            path = path[:-1]
        return self._lines.get(path)

    def _read(self, text: str) -> None:
        loader = _CoreLoader(text)
        try:
            node = loader.get_single_node()
            if node is not None:
                self._visit(node, (), set())
                if not self.mistakes:
                    self.value = loader.construct_document(node)
        finally:
            loader.dispose()

    def _visit(self, node: yaml.Node, path: KeyPath, above: set[int]) -> None:
        if id(node) in above:
            raise ValueError("an alias that contains itself")
        above = above | {id(node)}
        if path:
            self._lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.SequenceNode):
            for position, item in enumerate(node.value):
                self._visit(item, (*path, position), above)
        elif isinstance(node, yaml.MappingNode):
            self._visit_mapping(node, path, above)

    def _visit_mapping(self, node: yaml.MappingNode, path: KeyPath, above: set[int]) -> None:
        own: dict[str, int] = {}
        for key, value in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
                self.mistakes.append(Mistake(path, "expected a text as key", "put it in quotes", line))
                continue
            name = str(key.value)
            if name in own:
                again = f"expected each key once, found it also on line {own[name]}"
                self.mistakes.append(Mistake((*path, name), again, "remove one of them", line))
            own[name] = line
            self._lines[*path, name] = line
            self._visit(value, (*path, name), above)
