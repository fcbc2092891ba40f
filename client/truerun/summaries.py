"""What a training says of itself as a whole: `run.summary["best"] = 0.12`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any


class RunSummary(MutableMapping[str, Any]):
    """A mapping whose changes are recorded; None takes a member away."""

    def __init__(self, note: Callable[[Mapping[str, Any]], None]) -> None:
        self._values: dict[str, Any] = {}
        self._note = note

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def __delitem__(self, key: str) -> None:
        del self._values[key]
        self._note({key: None})

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Change several members with one record."""
        values = {str(key): value for key, value in dict(*args, **kwargs).items()}
        self._values.update(values)
        self._note(values)
