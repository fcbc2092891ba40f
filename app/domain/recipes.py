"""The recipe: what runs share that differ only by their seed (RULES.md, *Noise*, first paragraph)."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

SEED_KEY = "seed"


def is_known(
    config: Mapping[str, Any], git_commit: str | None, volatile: Iterable[str], *, seeded: bool
) -> bool:
    """Whether enough is known of how the run was made to have siblings.

    A commit alone is not enough: of two runs that record no configuration nobody knows what differs, and what
    differs would pass for noise. With a seed it is: then the seed is what differs.

    Args:
        seeded: Whether the run named its seed.
    """
    patterns = (SEED_KEY, *volatile)
    return next(_leaves(config, "", patterns), None) is not None or (seeded and git_commit is not None)


def recipe_digest(config: Mapping[str, Any], git_commit: str | None, volatile: Iterable[str]) -> bytes:
    """16 bytes that equal configs share: without `seed` and the volatile keys, plus the commit when known.

    Nested and dotted keys are the same key (`{"a": {"b": 1}}` and `{"a.b": 1}`); patterns match its last
    part. 1 and 1.0 are the same number.

    Args:
        volatile: Shell patterns, case-sensitive (`*dir*`, `host*`).
    """
    patterns = (SEED_KEY, *volatile)
    kept = sorted(
        (path, json.dumps(plain(leaf), sort_keys=True)) for path, leaf in _leaves(config, "", patterns)
    )
    content = json.dumps([kept, git_commit])
    return hashlib.blake2b(content.encode(), digest_size=16).digest()


def _leaves(node: Mapping[str, Any], path: str, patterns: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for key, child in node.items():
        name = str(key)
        last = name.rpartition(".")[2]
        if any(fnmatchcase(last, pattern) for pattern in patterns):
            continue
        here = f"{path}.{name}" if path else name
        if isinstance(child, Mapping) and child:
            yield from _leaves(child, here, patterns)
        else:
            yield here, _without(child, patterns)


def _without(value: Any, patterns: tuple[str, ...]) -> Any:
    """A list with its objects stripped of the same keys."""
    if isinstance(value, list | tuple):
        return [
            dict(_leaves(item, "", patterns)) if isinstance(item, Mapping) else _without(item, patterns)
            for item in value
        ]
    return value


def plain(value: Any) -> Any:
    """A leaf of a config as strict JSON that is the same for equal values: 1 and 1.0, but not 1 and true."""
    if isinstance(value, float):
        if not math.isfinite(value):
            return repr(value)
        return int(value) if value.is_integer() else value
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)
