"""How the client behaves in someone else's process: one warning per kind, a counter, and on."""

from __future__ import annotations

import functools
import logging
from collections import Counter
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class TruerunError(Exception):
    """Raised only by a run that was started with strict=True, and by the command line."""


class NotDelivered(TruerunError):
    """Strict only: an evaluation was refused, or could not be sent in time."""


class WrongCall(ValueError):
    """A call that cannot mean anything, such as a batch of another length than its group labels.

    Args:
        kind: The sort of mistake, for the one warning and the counter.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Manners:
    """Says each kind of trouble once and counts the rest.

    Args:
        strict: Raise instead, which suits tests and nothing else.
    """

    def __init__(self, *, strict: bool = False) -> None:
        self.strict = strict
        self.counts: Counter[str] = Counter()

    def complain(self, kind: str, message: str) -> None:
        """Count it, and log it when it is the first of its kind."""
        self.counts[kind] += 1
        if self.counts[kind] == 1:
            self.say(message)

    @staticmethod
    def say(message: str) -> None:
        """One line for the user; goes where the host sends its warnings, by default to stderr."""
        # No handler is installed and no Python warning issued: under `-W error` that would raise into the
        # training.
        logging.getLogger("truerun").warning("truerun: %s", message)


class Polite(Protocol):
    @property
    def manners(self) -> Manners: ...


S = TypeVar("S", bound=Polite)


def guarded(
    fallback: Callable[[Any, BaseException], R],
) -> Callable[[Callable[Concatenate[S, P], R]], Callable[Concatenate[S, P], R]]:
    """Keep whatever goes wrong in a method, a wrong signature too, out of the training.

    Args:
        fallback: Makes the value to return instead.
    """

    def decorate(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
        @functools.wraps(method)
        def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return method(self, *args, **kwargs)
            except Exception as error:
                if self.manners.strict:
                    raise
                kind = (
                    error.kind
                    if isinstance(error, WrongCall)
                    else f"{method.__name__}:{type(error).__name__}"
                )
                self.manners.complain(kind, f"{method.__name__}() was ignored: {_told(error)}")
                return fallback(self, error)

        return call

    return decorate


def nothing(_self: Any, _error: BaseException) -> None:
    """The fallback of a method that returns nothing."""


def _told(error: Exception) -> str:
    if isinstance(error, WrongCall):
        return str(error)
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - a foreign error's __str__ may do anything
        return type(error).__name__
