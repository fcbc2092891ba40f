"""What a call of `log` holds, as names and numbers; looks at values only as far as that makes nobody wait."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterator, Mapping
from typing import Any

from truerun import tensors
from truerun.points import Keys
from truerun.recorder import Late

LONGEST_NAME = 256
_DEEPEST = 16
_MOST_KNOWN = 1000
_PLAIN = frozenset({float, int, bool})


class Reader:
    """Reads calls of `log`; the names of a training loop are looked at once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, tuple[Any, ...]], Keys] = {}

    def plain(
        self, values: Mapping[str, Any], stage: str, split: str
    ) -> tuple[Keys, tuple[float, ...]] | None:
        """The fast way, for plain numbers under names that were seen before; None where it does not lead."""
        keys = self._known.get((stage, split, tuple(values)))
        if keys is None:
            return None
        found = tuple(values.values())
        if not _PLAIN.issuperset(map(type, found)):
            return None
        return keys, found

    def read(
        self, values: Mapping[str, Any], stage: str, split: str, *, group: str = ""
    ) -> tuple[Keys, tuple[float, ...], Late | None, dict[str, int]]:
        """(names, numbers, what a device still computes, how many values were dropped by reason)."""
        dropped: dict[str, int] = {}
        names: list[tuple[str, str]] = []
        found: list[float] = []
        waiting: dict[int, Any] = {}
        for name, value in flattened(values, dropped):
            number = value if type(value) in _PLAIN else _number_of(value)
            if number is None and tensors.is_tensor(value):
                waiting[len(found)] = value
                number = math.nan
            if number is None or not _fits(number):
                dropped["not_a_number"] = dropped.get("not_a_number", 0) + 1
                continue
            names.append((group, name))
            found.append(number)
        late: Late | None = None
        if waiting:
            late, refused = tensors.take(waiting)
            for place in sorted(refused, reverse=True):
                del names[place], found[place]
                dropped["not_a_number"] = dropped.get("not_a_number", 0) + 1
            if refused and late is not None:
                late = tensors.moved(late, refused)
        keys = Keys(stage, split, tuple(names))
        if not dropped and not group and late is None:
            self._remember(values, keys)
        return keys, tuple(found), late, dropped

    def _remember(self, values: Mapping[str, Any], keys: Keys) -> None:
        plain = tuple(values)
        if tuple(name for _, name in keys.names) == plain and len(self._known) < _MOST_KNOWN:
            self._known[(keys.stage, keys.split, plain)] = keys


def flattened(
    values: Mapping[Any, Any], dropped: dict[str, int], prefix: str = "", depth: int = 0
) -> Iterator[tuple[str, Any]]:
    """Nested mappings as `outer/inner`; names that cannot be are counted."""
    for key, value in values.items():
        name = f"{prefix}{key}" if isinstance(key, str | int) else ""
        if _is_mapping(value) and depth < _DEEPEST:
            yield from flattened(value, dropped, f"{name}/", depth + 1)
        elif not name or len(name) > LONGEST_NAME or not name.isprintable():
            dropped["bad_name"] = dropped.get("bad_name", 0) + 1
        else:
            yield name, value


def _is_mapping(value: Any) -> bool:
    try:
        return isinstance(value, Mapping)
    except Exception:  # noqa: BLE001 - an object may refuse to tell even its class
        return False


def _number_of(value: Any) -> float | None:
    """Of a foreign number or an array without dimensions; None for tensors and for what is no number."""
    try:
        if not isinstance(value, numbers.Real) or isinstance(value, tensors.foreign()):
            return None if tensors.is_tensor(value) else tensors.array_scalar(value)
        return float(value)
    except Exception:  # noqa: BLE001 - a foreign number may do anything
        return None


def _fits(number: float) -> bool:
    try:
        float(number)
    except OverflowError:
        return False
    return True
