"""Just enough of the Dockerfile's language to run one outside a container."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


class Instruction(NamedTuple):
    """One instruction: its word in capitals, and the rest, continuations joined."""

    word: str
    rest: str


@dataclass
class Stage:
    """One stage: its base as written, its name, and its instructions."""

    base: str
    name: str
    instructions: list[Instruction] = field(default_factory=list)

    def all(self, word: str) -> list[str]:
        """Return what follows each instruction of that word."""
        return [instruction.rest for instruction in self.instructions if instruction.word == word]

    def command(self, word: str) -> list[str]:
        """Return the words of ENTRYPOINT or CMD in its JSON form."""
        (rest,) = self.all(word)
        return list(json.loads(rest))


def read(path: Path) -> tuple[list[Instruction], list[Stage]]:
    """Return what stands before the first stage, and the stages."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    before: list[Instruction] = []
    stages: list[Stage] = []
    for statement in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        if not statement.strip():
            continue
        word, _, rest = statement.strip().partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            stages.append(Stage(base, name))
        else:
            # What a build may mount is not there outside of one, and the commands do without.
            rest = re.sub(r"^(--mount=\S+\s+)+", "", rest.strip())
            (stages[-1].instructions if stages else before).append(Instruction(word, rest))
    return before, stages
