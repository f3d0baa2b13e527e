"""The page of the HTTP API: every path, its parameters, body and answers, from http/openapi.yaml."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any, Final

import yaml

from reference.markdown import table

_HEAD: Final = """\
# HTTP API

This page lists every path of the daemon's HTTP server. It is generated from
[http/openapi.yaml](../http/openapi.yaml) by `make docs`; the daemon serves the same description as `/openapi.yaml`.
[http.md](http.md) explains how callers are limited and protected.

"""

_METHODS: Final = ("get", "post", "put", "delete", "patch")
_EXAMPLE_LIMIT: Final = 2_000
"""The longest example that is shown, in characters."""


def http_page(text: str) -> str:
    """Return docs/http-api.md."""
    return _HEAD + "\n".join(_Api(yaml.safe_load(text)).lines()).rstrip() + "\n"


class _Api:
    def __init__(self, api: Mapping[str, Any]) -> None:
        self._api = api

    def lines(self) -> Iterator[str]:
        yield _paragraphs(self._api["info"]["description"])
        yield ""
        operations = [
            (operation["tags"][0], method, path, operation)
            for path, item in self._api["paths"].items()
            for method, operation in item.items()
            if method in _METHODS
        ]
        tags = {each["name"]: each["description"] for each in self._api["tags"]}
        order = list(tags)
        operations.sort(key=lambda each: order.index(each[0]))
        for tag, group in groupby(operations, key=lambda each: each[0]):
            yield f"## {tag.capitalize()}"
            yield ""
            yield tags[tag]
            yield ""
            for _, method, path, operation in group:
                yield from self._operation(method, path, operation)

    def _operation(self, method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
        yield f"### {method.upper()} {path}"
        yield ""
        yield _paragraphs(operation["summary"])
        yield ""
        if operation["summary"].startswith("The same"):
            return
        if description := operation.get("description"):
            yield _paragraphs(description)
            yield ""
        parameters = map(self._resolved, operation.get("parameters", ()))
        yield from table(("parameter", "in", "meaning"), map(_parameter, parameters))
        yield from self._examples("Request", operation.get("requestBody", {}))
        answers = {status: self._resolved(each) for status, each in operation["responses"].items()}
        yield from table(
            ("status", "meaning"), ((f"{status}", answer.get("description", "")) for status, answer in answers.items())
        )
        for status, answer in answers.items():
            if status.startswith("2"):
                yield from self._examples(f"Answer {status}", answer)

    def _examples(self, title: str, holder: Mapping[str, Any]) -> Iterator[str]:
        """Return the examples of a JSON body."""
        content = self._resolved(holder).get("content", {}).get("application/json", {})
        found = [(each.get("summary", ""), each["value"]) for each in content.get("examples", {}).values()]
        if "example" in content:
            found.append(("", content["example"]))
        for summary, value in found:
            text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
            if len(text) <= _EXAMPLE_LIMIT:
                yield f"{title}{f', {summary[:1].lower()}{summary[1:]}' if summary else ''}:"
                yield ""
                yield f"```json\n{text}\n```"
                yield ""

    def _resolved(self, part: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a part, or what it refers to."""
        while "$ref" in part:
            found: Any = self._api
            for name in part["$ref"].removeprefix("#/").split("/"):
                found = found[name]
            part = found
        return part


def _parameter(parameter: Mapping[str, Any]) -> tuple[str, str, str]:
    schema = parameter.get("schema", {})
    meaning = parameter.get("description", "")
    if values := [each for each in schema.get("enum", ()) if each != ""]:
        meaning += f" One of {', '.join(f'`{each}`' for each in values)}."
    if "default" in schema:
        meaning += f" Default: `{json.dumps(schema['default'])}`."
    return f"`{parameter['name']}`", parameter["in"] + (", required" if parameter.get("required") else ""), meaning


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(each.split()) for each in text.strip().split("\n\n"))
