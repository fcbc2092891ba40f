"""Reading a JSON object of settings: each key by its kind, every problem noted with its path."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from app.domain.names import field_part, name_problem, unknown_key
from app.errors import Problem

_LONGEST_TEXT = 2000


def shown(value: object) -> str:
    """A value in a message: short, and printable whatever was sent."""
    return ascii(value)[:80]


class Reader:
    """Typed reads of one object that note what is wrong and go on with the default; null counts as left out.

    Args:
        path: Where the object stands in the whole.
        problems: Where problems are noted.
    """

    def __init__(self, document: object, path: tuple[str | int, ...], problems: list[Problem]) -> None:
        self._path, self._problems = path, problems
        self._document: Mapping[str, Any] = {}
        if isinstance(document, Mapping):
            self._document = document
        else:
            self._note(path, f"must be an object, not {shown(document)}")

    def note(self, key: str, message: str) -> None:
        self._note((*self._path, key), message)

    def refuse_unknown(self, known: Iterable[str]) -> None:
        names = list(known)
        for key in self._document:
            if key not in names:
                message = unknown_key(key, names) if names else f"unknown key {shown(key)}; there are none"
                self.note(field_part(key), message)

    def text(self, key: str, *, required: bool = False) -> str | None:
        """One line; None when it is left out or wrong."""
        value = self._document.get(key)
        if value is None:
            if required:
                self.note(key, "is needed")
            return None
        if not isinstance(value, str) or not value or not value.isprintable() or len(value) > _LONGEST_TEXT:
            self.note(key, f"must be a line of text, not {shown(value)}")
            return None
        return value

    def whole(self, key: str, default: int, *, at_least: int, at_most: int) -> int:
        value = self._document.get(key)
        if value is None:
            return default
        if isinstance(value, int) and not isinstance(value, bool) and at_least <= value <= at_most:
            return value
        self.note(key, f"must be a whole number from {at_least} to {at_most}, not {shown(value)}")
        return default

    def one_of(self, key: str, words: Iterable[str], default: str) -> str:
        value = self._document.get(key)
        if value is None:
            return default
        known = list(words)
        if value in known:
            return str(value)
        self.note(key, f"must be one of {', '.join(known)}, not {shown(value)}")
        return default

    def words(self, key: str, words: Iterable[str]) -> list[str]:
        """Each of those words at most once, in their order."""
        known = list(words)
        given = self._list(key, at_most=len(known))
        for i, value in enumerate(given):
            if value not in known:
                self._note((*self._path, key, i), f"must be one of {', '.join(known)}, not {shown(value)}")
        return [word for word in known if word in given]

    def names(self, key: str, *, at_most: int) -> list[str]:
        """Names of metrics, groups or suites, each once, in the order given."""
        names = []
        for i, value in enumerate(self._list(key, at_most=at_most)):
            if problem := name_problem(value):
                self._note((*self._path, key, i), problem)
            else:
                names.append(str(value))
        return list(dict.fromkeys(names))

    def tables(self, key: str, *, at_most: int) -> Iterator[Reader]:
        """A reader for each object of a list."""
        for i, value in enumerate(self._list(key, at_most=at_most)):
            yield Reader(value, (*self._path, key, i), self._problems)

    def _list(self, key: str, *, at_most: int) -> list[Any]:
        value = self._document.get(key)
        if value is None:
            return []
        if not isinstance(value, list | tuple):
            self.note(key, f"must be a list, not {shown(value)}")
            return []
        if len(value) > at_most:
            self.note(key, f"must have at most {at_most} entries, not {len(value)}")
            return []
        return list(value)

    def _note(self, path: tuple[str | int, ...], message: str) -> None:
        self._problems.append(Problem(field=".".join(map(str, path)), message=message))
