"""A stage of a training, such as `operator` before `refine`: what is logged in it carries its name."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any


class StagePassage:
    """Made by `run.stage(…)`; to be used by `with`. An exception goes on its way and marks the stage as failed.

    Args:
        enter, leave: Called with what to log; `leave` gets the stage that goes on, too.
    """

    def __init__(
        self,
        name: str,
        metrics: Mapping[str, str],
        *,
        enter: Callable[[str, Mapping[str, Any]], str],
        leave: Callable[[str, Mapping[str, Any]], None],
    ) -> None:
        self.name = name
        self._metrics = metrics
        self._enter = enter
        self._leave = leave
        self._outer = ""
        self._began = 0.0

    def __enter__(self) -> StagePassage:
        self._began = time.monotonic()
        self._outer = self._enter(self.name, {"stage": self.name, **self._metrics})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        seconds = time.monotonic() - self._began
        self._leave(
            self._outer,
            {"stage": self.name, **self._metrics, "seconds": seconds, "failed": kind is not None},
        )
