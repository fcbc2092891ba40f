"""The Dockerfile and .dockerignore as data, read strictly: what this reader does not know, it refuses.

It knows the part of the language that our Dockerfile uses; heredocs and parser directives are not in it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

INSTRUCTIONS = {
    "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "RUN", "STOPSIGNAL", "USER",
    "WORKDIR",
}  # fmt: skip
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """One instruction.

    Args:
        flags: `--from=x` as {"from": "x"}.
        text: The rest, continuation lines joined, nothing replaced.
    """

    keyword: str
    flags: Mapping[str, str]
    text: str

    @property
    def words(self) -> list[str]:
        """The exec form's elements, or the shell form's words."""
        # HEALTHCHECK has its flags and then an instruction of its own.
        text = self.text.removeprefix("CMD ") if self.keyword == "HEALTHCHECK" else self.text
        if text.startswith("["):
            words: list[str] = json.loads(text)
            return words
        return shlex.split(text)

    @property
    def pairs(self) -> dict[str, str]:
        """`A=b C="d e"` of ENV and LABEL; ARG may do without a value, which reads as empty."""
        return {name: value for name, _, value in (word.partition("=") for word in self.words)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    base: str
    name: str | None
    instructions: list[Instruction] = field(default_factory=list)

    def all(self, keyword: str) -> list[Instruction]:
        return [each for each in self.instructions if each.keyword == keyword]

    def last(self, keyword: str) -> Instruction:
        """The one that counts of those that replace each other."""
        return self.all(keyword)[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dockerfile:
    arguments: Mapping[str, str]
    stages: list[Stage]

    @property
    def final(self) -> Stage:
        return self.stages[-1]


def read_dockerfile(text: str) -> Dockerfile:
    """Parse, with the arguments before the first FROM put into the names of the base images."""
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for instruction in _instructions(text):
        if instruction.keyword == "FROM":
            match instruction.words:
                case [base]:
                    stages.append(Stage(base=substituted(base, arguments), name=None))
                case [base, "AS", name]:
                    stages.append(Stage(base=substituted(base, arguments), name=name))
                case _:
                    raise ValueError(f"FROM {instruction.text}")
        elif stages:
            stages[-1].instructions.append(instruction)
        elif instruction.keyword == "ARG":
            arguments.update(instruction.pairs)
        else:
            raise ValueError(f"{instruction.keyword} before the first FROM")
    return Dockerfile(arguments=arguments, stages=stages)


def substituted(text: str, values: Mapping[str, str]) -> str:
    """`$A` and `${A}` replaced; a name without a value is empty, as builders have it."""
    return _VARIABLE.sub(lambda found: values.get(found[1] or found[2], ""), text)


def _instructions(text: str) -> Iterable[Instruction]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    logical = re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()
    for line in logical:
        keyword, _, rest = line.partition(" ")
        flags = {}
        while found := re.match(r"--([\w-]+)=(\S+)\s+", rest):
            flags[found[1]] = found[2]
            rest = rest[found.end() :]
        if keyword not in INSTRUCTIONS or "<<" in rest or rest.startswith("--"):
            raise ValueError(f"not read here: {line}")
        yield Instruction(keyword=keyword, flags=flags, text=rest.strip())


def is_ignored(path: str, patterns: Iterable[str]) -> bool:
    """Whether a builder leaves the file out: the last pattern that names it or a directory above it decides."""
    ignored = False
    names = [str(path), *(str(parent) for parent in PurePosixPath(path).parents if str(parent) != ".")]
    for pattern in patterns:
        exception = pattern.startswith("!")
        expression = _pattern(pattern.removeprefix("!").strip("/"))
        if any(expression.fullmatch(name) for name in names):
            ignored = not exception
    return ignored


def ignore_patterns(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def sent_files(context: Path, patterns: Iterable[str]) -> list[str]:
    """What a builder gets of a directory, as paths below it, in order."""
    patterns = list(patterns)
    exceptions = [pattern[1:].strip("/") for pattern in patterns if pattern.startswith("!")]
    if any("*" in exception for exception in exceptions):
        raise ValueError("exceptions are read as plain paths here")
    sent = []
    for folder, directories, names in os.walk(context):
        below = PurePosixPath(Path(folder).relative_to(context).as_posix())
        # Not even looked into, as long as nothing below is an exception.
        directories[:] = [
            name
            for name in directories
            if not is_ignored(str(below / name), patterns)
            or any(exception.startswith(f"{below / name}/") for exception in exceptions)
        ]
        sent += [str(below / name) for name in names if not is_ignored(str(below / name), patterns)]
    return sorted(sent)


def _pattern(pattern: str) -> re.Pattern[str]:
    """`**/` is any number of directories, `*` anything but a slash."""
    parts = re.split(r"(\*\*/|\*)", pattern)
    known = {"**/": "(?:.*/)?", "*": "[^/]*"}
    return re.compile("".join(known.get(part, re.escape(part)) for part in parts))
