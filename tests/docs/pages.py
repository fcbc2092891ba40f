"""Markdown pages as what a reader would type: their fenced blocks, by kind.

`sh`: commands, of which each must end with 0 or with the number in its `# exit code N`. `console`: a command after
`$ ` and what it prints, where `…` stands for anything. `python`: a whole script. `toml` and `json`: a file, which is
written where the block names one (`toml policy.toml`). Anything else is not for typing and must not look like it.

After its kind a block may say `not-run`; `NOT_RUN` in test_pages.py says why.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
RUNNABLE = ("sh", "console", "python", "toml", "json")
_FENCE = re.compile(r"^(?P<fence>`{3,})(?P<info>[^`]*)$")
_COMMAND = re.compile(r"^\s*(\$ |truerun |truerun-server |make |curl |python |pip |docker |\.venv/bin/)")
_EXIT_CODE = re.compile(r"#.*\bexit code (\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block.

    Args:
        line: Where its content begins, from 1.
        name: The file it is written to; None when it names none.
    """

    page: str
    line: int
    kind: str
    name: str | None
    is_run: bool
    text: str

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[str]:
    """Every page a user reads, as paths from the root; decisions are for developers and hold no commands."""
    found = [ROOT / "README.md", ROOT / "client" / "README.md", *(ROOT / "docs").rglob("*.md")]
    names = (path.relative_to(ROOT).as_posix() for path in found)
    return sorted(name for name in names if not name.startswith("docs/decisions/"))


def blocks(page: str) -> list[Block]:
    return list(_blocks(page, (ROOT / page).read_text().splitlines()))


def looks_like_a_command(block: Block) -> bool:
    return any(_COMMAND.match(line) for line in block.text.splitlines())


def commands(text: str) -> list[tuple[str, int]]:
    """Each command of a `sh` block with the exit code it must have."""
    found: list[tuple[str, int]] = []
    lines = iter(text.splitlines())
    for line in lines:
        command = line
        heredoc = re.search(r"<<-?\s*'?(\w+)'?", line)
        while heredoc and (more := next(lines, heredoc[1])) is not None:
            command += f"\n{more}"
            if more.strip() == heredoc[1]:
                break
        while command.rstrip().endswith("\\"):
            command += f"\n{next(lines)}"
        if command.strip() and not command.lstrip().startswith("#"):
            code = _EXIT_CODE.search(command)
            found.append((command, int(code[1]) if code else 0))
    return found


def conversations(text: str) -> list[tuple[str, str]]:
    """Each command of a `console` block with what it prints."""
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif found and found[-1][0].endswith("\\") and not found[-1][1]:
            found[-1] = (f"{found[-1][0]}\n{line}", [])
        else:
            found[-1][1].append(line)
    return [(command, "\n".join(printed)) for command, printed in found]


def pattern_of(printed: str) -> re.Pattern[str]:
    """What fits the printed text: blanks in any number, `…` for anything, a line of `…` for any lines."""
    lines = []
    for line in printed.strip().splitlines():
        if line.strip() == "…":
            lines.append(r"(?:.*\n)*?")
            continue
        words = [r".*?".join(re.escape(part) for part in word.split("…")) for word in line.split()]
        lines.append(r"[^\S\n]*" + r"[^\S\n]+".join(words) + r"[^\S\n]*\n")
    return re.compile(r"\s*" + "".join(lines) + r"\s*")


def _blocks(page: str, lines: list[str]) -> Iterator[Block]:
    opened: tuple[str, str, int] | None = None
    for number, line in enumerate(lines, start=1):
        found = _FENCE.match(line)
        if opened is None:
            if found:
                opened = (found["fence"], found["info"].strip(), number)
            continue
        fence, info, start = opened
        if line.strip() != fence:
            continue
        kind, *rest = info.split() or [""]
        names = [word for word in rest if word != "not-run"]
        yield Block(
            page=page,
            line=start + 1,
            kind=kind,
            name=names[0] if names else None,
            is_run="not-run" not in rest,
            text="\n".join(lines[start : number - 1]),
        )
        opened = None
