"""A run's configuration: what the user reads and writes, and what of it can travel as JSON."""

from __future__ import annotations

import argparse
import dataclasses
import enum
import numbers
import os
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from collections.abc import Set as AbstractSet
from typing import Any

DEEPEST = 20
LONGEST_TEXT = 10_000
LONGEST_LINE = 256
LONGEST_NOTES = 10_000
MOST_ENTRIES = 10_000


class Config(MutableMapping[str, Any]):
    """`config["lr"]`, `config.lr`, `config.update(...)`; changes reach the service with the next evaluation.

    Args:
        changed: Called after each change.
    """

    def __init__(self, values: Mapping[str, Any], changed: Callable[[], None] | None = None) -> None:
        object.__setattr__(self, "_values", dict(values))
        object.__setattr__(self, "_changed", changed)

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._values[key] = value
        if self._changed is not None:
            self._changed()

    def __delitem__(self, key: str) -> None:
        del self._values[key]
        if self._changed is not None:
            self._changed()

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getattr__(self, name: str) -> Any:
        # Underscored names are asked for by copy and pickle before __init__ ran.
        if name.startswith("_") or name not in self._values:
            raise AttributeError(f"config has no {name!r}")
        return self._values[name]

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __repr__(self) -> str:
        return f"Config({self._values!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (Config, (self._values,))


def config_values(config: Any) -> dict[str, Any]:
    """The user's configuration, in whatever form, as a mapping.

    Raises:
        TypeError: It has no names for its values.
    """
    if config is None:
        return {}
    if isinstance(config, Mapping):
        return {str(key): _read(config, key) for key in config}
    if isinstance(config, argparse.Namespace):
        return dict(vars(config))
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    raise TypeError(f"config must be a mapping, a Namespace or a dataclass, not {type(config).__name__}")


def _read(config: Mapping[Any, Any], key: Any) -> Any:
    try:
        return config[key]
    except Exception as error:  # noqa: BLE001 - a configuration library may refuse to show a value
        return f"unreadable: {type(error).__name__}"


def as_json(value: Any) -> Any:
    """The value as the service's JSON can keep it; what has no JSON form becomes its text, never an error."""
    return _as_json(value, DEEPEST, [MOST_ENTRIES])


def as_line(value: str | None) -> str | None:
    """A name or tag as one printable line; a strange one must not cost the whole run."""
    if value is None:
        return None
    line = "".join(letter if letter.isprintable() else " " for letter in value).strip()
    return line[:LONGEST_LINE].strip() or None


def as_notes(value: str | None) -> str | None:
    """Notes as the service takes them; they may have many lines."""
    return None if value is None else _text(value, longest=LONGEST_NOTES)


def _as_json(value: Any, depth: int, left: list[int]) -> Any:
    left[0] -= 1
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(str(value))
    if isinstance(value, enum.Enum):
        return _as_json(value.value, depth - 1, left) if depth > 0 else _text(value.name)
    if isinstance(value, numbers.Integral):
        # Beyond 64 bits a number would be refused or lose digits on the way.
        return int(value) if -(2**63) <= int(value) < 2**63 else str(int(value))
    if isinstance(value, numbers.Real):
        return float(value)
    if isinstance(value, os.PathLike):
        return _text(os.fspath(value))
    nested = _nested(value)
    if nested is None:
        return _text(_described(value))
    if depth <= 0 or left[0] <= 0:
        return "…"
    if isinstance(nested, dict):
        return {
            _text(str(key)): _as_json(item, depth - 1, left)
            for key, item in list(nested.items())[: max(left[0], 0)]
        }
    return [_as_json(item, depth - 1, left) for item in nested[: max(left[0], 0)]]


def _nested(value: Any) -> dict[Any, Any] | list[Any] | None:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, AbstractSet):
        return sorted(value, key=repr)
    if isinstance(value, argparse.Namespace) or (
        dataclasses.is_dataclass(value) and not isinstance(value, type)
    ):
        return config_values(value)
    return None


def _described(value: Any) -> str:
    try:
        # A tensor's or a model's repr can be huge, and a tensor's waits for its device.
        if hasattr(value, "shape") and hasattr(value, "dtype"):
            return f"{type(value).__name__}{tuple(value.shape)}"
        if callable(value):
            name = getattr(value, "__qualname__", type(value).__qualname__)
            return f"{getattr(value, '__module__', '?')}.{name}"
        return repr(value)
    except Exception:  # noqa: BLE001 - a foreign object's attributes and repr may do anything
        return type(value).__name__


def _text(value: str | bytes, *, longest: int = LONGEST_TEXT) -> str:
    text = os.fsdecode(value) if isinstance(value, bytes) else value
    # Postgres keeps neither NUL nor half a surrogate pair.
    clean = text.replace("\x00", "␀").encode("utf-8", "replace").decode()
    return clean if len(clean) <= longest else f"{clean[: longest - 1]}…"
