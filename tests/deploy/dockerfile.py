"""deploy/images/Dockerfile as the tests read it: its stages with their instructions."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Final

import msgspec

from tests.deploy.manifests import ROOT

PATH: Final = ROOT / "deploy/images/Dockerfile"


class Instruction(msgspec.Struct, frozen=True):
    """One instruction: its keyword, and the rest of its lines as one."""

    keyword: str
    text: str

    @property
    def words(self) -> tuple[str, ...]:
        """The words that are no flags."""
        return tuple(word for word in self.text.split() if not word.startswith("--"))

    @property
    def flags(self) -> dict[str, str]:
        """`--name=value` flags."""
        return {
            name: value
            for word in self.text.split()
            if word.startswith("--")
            for name, _, value in [word[2:].partition("=")]
        }

    @property
    def argv(self) -> list[str]:
        """The exec form. Raises `ValueError` for the shell form."""
        found: list[str] = json.loads(self.text[self.text.index("[") :])
        return found


class Stage(msgspec.Struct, frozen=True):
    """One stage: the image or stage it stands on, and its instructions."""

    base: str
    instructions: tuple[Instruction, ...]

    def all(self, keyword: str) -> list[Instruction]:
        """The instructions of one kind, in order."""
        return [one for one in self.instructions if one.keyword == keyword]


@functools.cache
def instructions(path: Path = PATH) -> tuple[Instruction, ...]:
    """Every instruction of the file; comments dropped, continued lines joined."""
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    split = [line.split(None, 1) for line in joined.splitlines()]
    return tuple(Instruction(keyword.upper(), text) for keyword, text in split)


def before_stages() -> list[Instruction]:
    """What stands above the first stage: the arguments that name its image."""
    first = next(index for index, one in enumerate(instructions()) if one.keyword == "FROM")
    return list(instructions()[:first])


def stages() -> dict[str, Stage]:
    """The stages by name, in order."""
    found: dict[str, Stage] = {}
    for one in instructions():
        if one.keyword == "FROM":
            base, word, name = one.words
            assert word == "AS"
            found[name] = Stage(base, ())
        elif found:
            name = next(reversed(found))
            found[name] = Stage(found[name].base, (*found[name].instructions, one))
    return found


def lineage(name: str) -> list[Stage]:
    """A stage and those it stands on, the oldest first."""
    every, found = stages(), [stages()[name]]
    while found[0].base in every:
        found.insert(0, every[found[0].base])
    return found


def last(name: str, keyword: str) -> Instruction:
    """The instruction that is in force in a stage: its own, else that of the nearest stage below."""
    return [one for stage in lineage(name) for one in stage.all(keyword)][-1]
