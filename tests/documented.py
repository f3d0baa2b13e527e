"""The commands that documents tell people to type: lines of code blocks, and inline code."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from markdown_it import MarkdownIt

CHECKOUT = Path(__file__).resolve().parents[1]
RUNBOOK = CHECKOUT / "docs" / "runbook.md"

SHELLS = frozenset({"sh", "bash", "console"})
"""Languages of code blocks whose lines are commands."""


class Code(NamedTuple):
    """A piece of code in a document: its line, its text, and the language of its block (None for inline code)."""

    line: int
    text: str
    language: str | None


def codes(text: str) -> Iterator[Code]:
    """Return each command line of the code blocks of Markdown, with continued lines joined, and all inline code."""
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        line = (token.map or [0])[0] + 1
        if token.type in {"fence", "code_block"}:
            for number, command in enumerate(re.sub(r"\\\n\s*", "", token.content).splitlines(), line + 1):
                if command.strip():
                    yield Code(number, command.strip(), token.info.strip())
        for child in token.children or ():
            if child.type == "code_inline":
                yield Code(line, " ".join(child.content.split()), None)


def words_of(command: str) -> list[str]:
    """Split a command line as a shell does; a comment at its end is left out. Code that is no command has no words."""
    try:
        return shlex.split(command, comments=True)
    except ValueError:  # inline code with an apostrophe, such as the name of a scheduled task
        assert not command.startswith("cdc-daemon"), command
        return []


def split_kubectl(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split the words of `kubectl` from those of the program that it runs in a container."""
    at = words.index("--") if "--" in words else len(words)
    return list(words[:at]), list(words[at + 1 :])


TEXT: Final = RUNBOOK.read_text(encoding="utf-8")
(SEGMENT,) = (CHECKOUT / "tests" / "data" / "commitlog" / "5.0-plain").glob("CommitLog-*.log.gz")
STATE, RAW = "/var/lib/cdc-daemon", "/var/lib/cassandra/cdc_raw"


def daemon_commands() -> Iterator[str]:
    """Return each command line of the runbook that runs `cdc-daemon`, without what runs it in a pod."""
    for code in codes(TEXT):
        if not code.text.startswith(("kubectl ", "cdc-daemon ")):
            continue  # a name may have an apostrophe, which a shell takes for a quotation mark
        words = words_of(code.text)
        if words[0] == "kubectl":
            words = split_kubectl(words)[1]
        if len(words) > 1 and words[0] == "cdc-daemon":
            yield shlex.join(words)
