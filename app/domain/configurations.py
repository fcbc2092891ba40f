"""Configurations beside each other: which keys differ, and which of the runs have them at all."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from app.domain.recipes import SEED_KEY, plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A value that a configuration has; null is one. What it has not is None in place of a Leaf."""

    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One key across several configurations, in their order."""

    key: str
    leaves: tuple[Leaf | None, ...]

    @property
    def differs(self) -> bool:
        """Whether some have it and others not, or their values are not the same."""
        return len({None if leaf is None else _canonical(leaf.value) for leaf in self.leaves}) > 1


def flatten(config: Mapping[str, Any]) -> dict[str, Any]:
    """Leaves by dotted key: `{"a": {"b": 1}, "layers": [{"dim": 2}]}` is `a.b` and `layers[0].dim`.

    A key with a dot in it has the same name as the nested one, as in filters and recipes; where a configuration has
    both, the nested one keeps the name. Empty objects and lists without objects are leaves.
    """
    flat: dict[str, Any] = {}
    leaves = sorted(_leaves(config, ()), key=lambda leaf: (-len(leaf[0]), leaf[0]))
    for path, value in leaves:
        name = ".".join(path)
        while name in flat:
            name += " (dotted)"
        flat[name] = value
    return dict(sorted(flat.items()))


def entries(configs: Sequence[Mapping[str, Any]]) -> tuple[Entry, ...]:
    """Every key that one of the configurations has, by name."""
    flat = [flatten(config) for config in configs]
    return tuple(
        Entry(key=key, leaves=tuple(Leaf(value=one[key]) if key in one else None for one in flat))
        for key in sorted(set().union(*flat))
    )


def is_seed(key: str) -> bool:
    """Whether a dotted key names a seed, which differs between runs that are otherwise the same."""
    return key.rpartition(".")[2] == SEED_KEY


def is_volatile(key: str, patterns: Iterable[str]) -> bool:
    """Whether a part of a dotted key matches one of the policy's volatile keys, so that recipes leave it out."""
    parts = [part.partition("[")[0] for part in key.split(".")]
    return any(fnmatchcase(part, pattern) for pattern in patterns for part in parts)


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, Mapping) and (value or not path):
        for key, child in value.items():
            yield from _leaves(child, (*path, str(key)))
    elif isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
        for i, item in enumerate(value):
            yield from _leaves(item, (*path[:-1], f"{path[-1]}[{i}]"))
    else:
        yield path, value


def _canonical(value: Any) -> str:
    return json.dumps(plain(value), sort_keys=True)
