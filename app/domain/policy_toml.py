"""A policy as TOML: the form that people write, with the line of every problem."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from app.domain.policy import Policy
from app.domain.policy_documents import NO_TOLERANCE, Path, policy_to_document, read_policy
from app.errors import InvalidInput, NotFound, Problem

_DEFAULT_TEMPLATE = """\
# What this project asks of a result. Every line is a default that you may change;
# each change makes a new version, and a verdict names the version it used.

# How much worse than the champion still passes, as a share of the champion's
# distance to perfection: an error of 0.100 may grow to 0.110, an accuracy of 0.95
# (error 0.05) may fall to 0.945. "none" leaves it to abs_tol alone.
rel_tol = 0.10

# The same in the metric's own unit. With both, a regression must exceed both
# (exceed = "all"), or one of them (exceed = "any").
# abs_tol = 0.01
exceed = "all"

# From which share on better counts as improved.
improve_tol = 0.05

# Fewest samples a group needs on both sides to be judged.
min_n = 30

# A champion's distance to perfection up to this counts as zero: then only abs_tol decides.
zero_tol = 1e-12

# Seeds of the champion's recipe (itself included) from which on their spread is known, and
# the one-sided confidence with which a change must leave it to be more than noise.
min_seeds = 3
confidence = 0.99

# Many small steps must not creep: how many times the limit the best champion so far may be missed by.
trend_factor = 1.5

# Config keys that do not belong to a recipe (besides seed).
volatile = ["*dir*", "*path*", "host*", "name", "*_id"]

# Where validation loss minus training loss should lie; advisory unless required.
# [gap]
# min = 0.02
# max = 0.08
# relative = false
# required = false

# A rule is a limit (max, min) or a tolerance (rel_tol, abs_tol, required) for some cells.
# Scope: overall = true, tier = "easy", group = "k=4,m=2", each = true, each = "easy".
# [[rule]]
# metric = "mse"
# tier = "easy"
# max = 0.15
# points = 3     # during training, too: alert when so many logged points in a row break it
"""

_PDE_RULES = """
# Physics gates. A metric that is not reported is not judged, and holds the gate: absent is not zero.
[[rule]]
metric = "conservation_gap"
max = 5.0

[[rule]]
metric = "bc_violation"
max = 1.0

[[rule]]
metric = "negativity_penalty"
max = 0.5
"""

TEMPLATES: Mapping[str, str] = {"default": _DEFAULT_TEMPLATE, "pde": _DEFAULT_TEMPLATE + _PDE_RULES}


def template(name: str) -> str:
    """The TOML text of a built-in policy.

    Raises:
        NotFound: There is no template of that name.
    """
    if name not in TEMPLATES:
        raise NotFound(f"no policy template {name[:64]!r}; there are {', '.join(TEMPLATES)}")
    return TEMPLATES[name]


def policy_from_toml(text: str, *, version: int = 0) -> Policy:
    """Read a policy from TOML.

    Raises:
        InvalidInput: Every problem; its field names the line and the key (`line 14, [[rule]] 2, rel_tol`).
    """
    try:
        document = tomllib.loads(text)
    except ValueError as error:
        # Besides its own errors tomllib lets a number of too many digits through.
        raise _broken(str(error)) from None
    except RecursionError:
        raise _broken("nested too deeply") from None
    policy, found = read_policy(document, version=version)
    if found:
        lines = _lines_of_keys(text)
        problems = [Problem(field=_place(path, lines), message=message) for path, message in found]
        raise InvalidInput(
            f"{problems[0].field}: {problems[0].message}", field=problems[0].field, problems=problems
        )
    return policy


def _broken(message: str) -> InvalidInput:
    at = re.search(r"\s*\(at line (\d+), column (\d+)\)", message)
    field = f"line {at.group(1)}" if at else "end of document" if "end of document" in message else None
    plain = re.sub(r"\s*\(at [^)]*\)", "", message)
    return InvalidInput(
        f"{field}: not valid TOML: {plain}" if field else f"not valid TOML: {plain}", field=field
    )


def _place(path: Path, lines: Mapping[Path, int]) -> str:
    # A missing key is reported at the table that lacks it.
    known = next((path[:end] for end in range(len(path), 0, -1) if path[:end] in lines), ())
    line = f"line {lines[known]}, " if known else ""
    parts: list[str] = []
    for part in path:
        if isinstance(part, int):
            parts[-1] = f"[[{parts[-1]}]] {part + 1}"
        else:
            parts.append(part)
    return line + (", ".join(parts) or "document")


_KEY = r'(?:[A-Za-z0-9_-]+|"[^"\n]*"|\'[^\'\n]*\')'
_TABLE = re.compile(rf"\s*(\[\[?)\s*({_KEY}(?:\s*\.\s*{_KEY})*)\s*\]\]?")
_ASSIGNMENT = re.compile(rf"\s*({_KEY}(?:\s*\.\s*{_KEY})*)\s*=")


def _lines_of_keys(text: str) -> dict[Path, int]:
    """Line number of every key and table; keys of inline tables have their table's."""
    lines: dict[Path, int] = {}
    table: Path = ()
    for number, line in _first_lines(text):
        if header := _TABLE.match(line):
            name: Path = tuple(_parts(header.group(2)))
            if header.group(1) == "[[":
                name = (*name, sum(1 for path in lines if path[:-1] == name and isinstance(path[-1], int)))
            table = name
            lines.setdefault(table, number)
        elif assignment := _ASSIGNMENT.match(line):
            lines.setdefault((*table, *_parts(assignment.group(1))), number)
    return lines


def _parts(dotted: str) -> list[str]:
    return [part.strip("\"'") for part in re.findall(_KEY, dotted)]


# What a line is made of where it matters: an escape, a quote, a bracket, a comment.
_MARK = re.compile(r'\\.|"""|\'\'\'|["\'#\[\]{}]')


def _first_lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines on which a statement begins: not those inside a multi-line string or an open bracket."""
    depth, quote = 0, ""
    for number, line in enumerate(text.split("\n"), start=1):
        begins = depth == 0 and not quote
        if begins:
            yield number, line
        opened, quote = _brackets_and_quote(line, quote)
        # The brackets of a table header are closed on its own line.
        depth += 0 if begins and line.lstrip().startswith("[") else opened


def _brackets_and_quote(line: str, quote: str) -> tuple[int, str]:
    """How many brackets the line leaves open, and the quote of the multi-line string it ends in, if any."""
    depth = 0
    for mark in (match.group() for match in _MARK.finditer(line)):
        if quote:
            quote = "" if mark == quote else quote
        elif mark == "#":
            break
        elif mark[0] in "\"'":
            quote = mark
        else:
            depth += (mark in "[{") - (mark in "]}")
    return depth, quote if len(quote) == 3 else ""


def policy_to_toml(policy: Policy) -> str:
    """TOML that `policy_from_toml` reads back to an equal policy (but for the version)."""
    document = policy_to_document(policy)
    rules, gap = document.pop("rule"), document.pop("gap")
    lines = [f"{key} = {_toml(value)}" for key, value in document.items() if value is not None]
    if policy.rel_tol is None:
        # TOML has no null, and a key left out means the default.
        lines.insert(0, f'rel_tol = "{NO_TOLERANCE}"')
    if gap is not None:
        lines += ["", "[gap]", *_assignments(gap)]
    for rule in rules:
        lines += ["", "[[rule]]", *_assignments(rule)]
    return "\n".join(lines) + "\n"


def _assignments(table: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {_toml(value)}" for key, value in table.items() if value is not None]


def _toml(value: object) -> str:
    """A scalar or list; names are printable, so JSON's escapes are TOML's."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return repr(value)
