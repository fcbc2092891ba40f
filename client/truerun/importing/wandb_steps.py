"""Which step a metric of W&B is logged at: the row's own, or another metric's where `define_metric` says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from truerun.importing.past import Tally

# Members of a metric's definition, as the run's configuration keeps them.
_NAME, _GLOB, _STEP_METRIC, _STEP_INDEX = "1", "2", "4", "5"


class Steps:
    """The definitions of one run, and how far each step metric has come in its history.

    Args:
        definitions: As they stand in the configuration under `_wandb.m`; whatever cannot be read defines nothing.
    """

    def __init__(self, definitions: Any) -> None:
        self._exact: dict[str, str] = {}
        self._globs: list[tuple[str, str]] = []
        self._known: dict[str, str | None] = {}
        self._last: dict[str, float] = {}
        found = (
            [each for each in definitions if isinstance(each, dict)] if isinstance(definitions, list) else []
        )
        for each in found:
            step_metric = each.get(_STEP_METRIC) or _named(found, each.get(_STEP_INDEX))
            if not isinstance(step_metric, str) or step_metric == "_step":
                continue
            if isinstance(each.get(_NAME), str):
                self._exact[_unescaped(each[_NAME])] = _unescaped(step_metric)
            elif isinstance(each.get(_GLOB), str):
                self._globs.append((each[_GLOB], _unescaped(step_metric)))

    def split(
        self, step: int, values: Mapping[str, float], tally: Tally
    ) -> list[tuple[int, dict[str, float]]]:
        """The values of a row by their steps.

        A metric whose step metric is not in the row goes by the value that this had last, as the W&B client itself
        fills it in. Where there is none yet, or it is no whole number, the row's step stands, and is counted.
        """
        self._last.update(values)
        parts: dict[int, dict[str, float]] = {}
        for name, value in values.items():
            parts.setdefault(self._step(name, step, tally), {})[name] = value
        return list(parts.items())

    def _step(self, name: str, step: int, tally: Tally) -> int:
        step_metric = self._step_metric(name)
        if step_metric is None or step_metric == name:
            return step
        at = self._last.get(step_metric)
        if at is None or not float(at).is_integer() or abs(at) >= 2**63:
            tally.noted["own_step"] += 1
            return step
        return int(at)

    def _step_metric(self, name: str) -> str | None:
        if name not in self._known:
            fits = (metric for glob, metric in self._globs if _fits(glob, name))
            self._known[name] = self._exact.get(name) or next(fits, None)
        return self._known[name]


def _named(definitions: list[Any], index: Any) -> str | None:
    """The name of the definition with that number, from 1."""
    if isinstance(index, int) and 1 <= index <= len(definitions):
        name = definitions[index - 1].get(_NAME)
        return name if isinstance(name, str) else None
    return None


def _fits(glob: str, name: str) -> bool:
    # W&B knows only a star at the end.
    return glob == "*" or (glob.endswith("*") and name.startswith(_unescaped(glob[:-1])))


def _unescaped(name: str) -> str:
    # A dot that is part of a name is kept with a backslash.
    return name.replace("\\.", ".")
