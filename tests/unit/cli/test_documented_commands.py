"""Every `cdc-daemon` command line in documents, comments, help texts and hints is one that the command line takes."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Final

import pytest
import typer
from typer.core import TyperGroup

from cdc_daemon.cli.main import app
from tests.documented import CHECKOUT, SHELLS, codes, split_kubectl, words_of
from tests.syntax import parse_file

DOCUMENTS: Final = (
    "README.md",
    "k8s/README.md",
    *(f"docs/{file.name}" for file in sorted((CHECKOUT / "docs").glob("*.md"))),
)
SOURCES: Final = ("cdc_daemon", "http/cdc_http", "sandbox/demo")
INLINE: Final = re.compile(r"`(cdc-daemon [^`]*)`")

PLACEHOLDERS: Final = {"ID": "1", "X": "1"}
"""What stands for words that a number is expected of."""


@cache
def tree() -> TyperGroup:
    """Return the command line with commands that do nothing, so that lines are read and not run."""
    root = typer.main.get_command(app)
    assert isinstance(root, TyperGroup)
    todo: list[Any] = [root]
    while todo:
        command = todo.pop()
        command.callback = lambda **_: None
        todo += getattr(command, "commands", {}).values()
    return root


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Return the words of each command that can be run."""
    if not isinstance(command, TyperGroup) or command.invoke_without_command:
        yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from leaves(inner, (*path, name))


def is_name(words: Sequence[str]) -> bool:
    """Return whether words are the name of a command or a group of commands, without arguments."""
    every = set(leaves(tree()))
    return any(path[: len(words)] == tuple(words) for path in every)


def in_documents() -> Iterator[tuple[str, str]]:
    """Return each command line of the documents, and where it is."""
    for document in DOCUMENTS:
        for code in codes((CHECKOUT / document).read_text(encoding="utf-8")):
            if code.language is not None and code.language not in SHELLS:
                continue
            for piece in code.text.split("|"):
                words = words_of(piece) if code.language else shlex.split(piece)
                if words and words[0] == "kubectl":
                    words = split_kubectl(words)[1]
                if words and words[0] == "cdc-daemon":
                    yield f"{document}:{code.line}", shlex.join(words)


def in_source() -> Iterator[tuple[str, str]]:
    """Return each command line between backticks in the code's texts; {} of an f-string becomes X."""
    for folder in SOURCES:
        for file in sorted((CHECKOUT / folder).rglob("*.py")):
            found = parse_file(file)
            inside = {id(part) for node in ast.walk(found) if isinstance(node, ast.JoinedStr) for part in node.values}
            for node in ast.walk(found):
                if text := None if id(node) in inside else as_text(node):
                    for command in INLINE.findall(text):
                        yield f"{file.relative_to(CHECKOUT)}:{node.lineno}", " ".join(command.split())  # type: ignore[attr-defined]


def as_text(node: ast.AST) -> str | None:
    """Return the text that a literal is."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
    return None


def in_configuration() -> Iterator[tuple[str, str]]:
    """Return each command line between backticks in the example's comments and in the schema."""
    for name in ("config.example.yaml", "docs/config.schema.json"):
        text = re.sub(r"\n\s*#", " ", (CHECKOUT / name).read_text(encoding="utf-8"))
        for command in INLINE.findall(text):
            yield name, " ".join(command.split())


LINES: Final = sorted({*in_documents(), *in_source(), *in_configuration()})


def test_lines_are_found_in_all_places() -> None:
    places = {place.partition(":")[0] for place, _ in LINES}
    assert {
        "README.md",
        "docs/commands.md",
        "docs/runbook.md",
        "cdc_daemon/tablejobs/index_admin.py",
        "docs/config.schema.json",
    } <= places


@pytest.mark.parametrize(("place", "command"), LINES, ids=lambda each: each)
def test_the_command_line_takes_it(place: str, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = [PLACEHOLDERS.get(word, word) for word in shlex.split(re.sub(r"[\[\]…]", "", command))[1:]]
    if words == ["--debug", "COMMAND"]:
        words = ["--debug", "version"]
    if is_name(words):
        words.append("--help")
    with pytest.raises(SystemExit) as ended:
        tree().main(words, prog_name="cdc-daemon")
    assert not ended.value.code, f"{place}: {command}: {capsys.readouterr().err}"


def test_the_page_of_commands_lists_every_command_and_no_other() -> None:
    text = (CHECKOUT / "docs" / "commands.md").read_text(encoding="utf-8")
    listed = set()
    every = set(leaves(tree()))
    for row in re.findall(r"^\| (`cdc-daemon [^|]*) \|", text, re.MULTILINE):
        first, *others = [
            tuple(word for word in each.removeprefix("cdc-daemon ").split() if re.fullmatch(r"[a-z][a-z-]*", word))
            for each in re.findall(r"`([^`]*)`", row)
        ]
        # `segments list`, `dump`: the others are of the same group. In `indices`, `rollback` they are not.
        listed |= {first, *(other if other in every else (*first[:-1], *other) for other in others)}
    assert listed == every
