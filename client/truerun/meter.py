"""Collects one evaluation batch by batch: n, mean and spread per metric × group."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from truerun import verdict as verdicts
from truerun.arrays import Labels, labels_of, samples_of
from truerun.manners import Manners, WrongCall, guarded, nothing
from truerun.moments import Moments, moments_by_index
from truerun.posting import OVERALL, Cell, Heading, cell, loss_document, stated_document

if TYPE_CHECKING:
    from truerun.verdict import Verdict

Post = Callable[[Heading, list[Cell], Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]], "Receipt"]


class Receipt:
    """What the run hands back for a posted evaluation; `wait` may be asked more than once."""

    def wait(self, timeout: float, /) -> Verdict:
        raise NotImplementedError


class Meter:
    """Made by `run.evaluation()`; one thread's. In a distributed job gather first, then update on rank 0."""

    def __init__(
        self, heading: Heading, post: Post, manners: Manners, *, is_muted: Callable[[], bool]
    ) -> None:
        self.manners = manners
        self._heading = heading
        self._post = post
        self._is_muted = is_muted
        self._moments: dict[tuple[str, str], Moments] = {}
        self._cells: dict[tuple[str, str], Cell] = {}
        self._stated: dict[str, Any] = {}
        self._loss: dict[str, Any] = {}
        self._dropped: dict[str, Counter[str]] = {}
        self._receipt: Receipt | None = None

    @guarded(nothing)
    def update(self, metric: str, values: Any, groups: Any = None) -> None:
        """Add one batch of a metric.

        Args:
            values: Shape (B,), one value per sample, in the metric's own unit, not averaged: a list, a numpy
                array, or a tensor on any device (it is detached and copied, so this waits for the device).
                For a metric that pools as rms (`rmse`, or pooling "rms") the values are errors: the meter
                squares, averages and takes the root.
            groups: Shape (B,), the group of each sample: strings, or integers that count into the declared
                groups; one string for the whole batch; None for a metric without groups.

        Raises:
            ValueError: Only with strict=True: the shapes differ, or values has been reduced to a scalar.
                Otherwise the batch is left out, counted, and named in the evaluation's info.
        """
        if self._is_muted():
            return
        try:
            self._add(metric, values, groups)
        except Exception as error:
            # An evaluation that lacks samples must say so, whatever went wrong with them.
            kind = error.kind if isinstance(error, WrongCall) else type(error).__name__
            self._dropped.setdefault(str(metric), Counter())[kind] += 1
            raise

    @guarded(nothing)
    def set(
        self,
        metric: str,
        value: Any,
        group: str | None = None,
        n: Any = None,
        *,
        stderr: Any = None,
        bound: str = "exact",
    ) -> None:
        """Give one number that was not measured sample by sample.

        Args:
            group: None for the whole.
            n: How many samples it is the metric of; None when unknown.
            bound: `at_least` or `at_most` when only a bound is known (">10").
        """
        if self._is_muted():
            return
        self._check_open()
        one = cell(metric, group, value, n=n, stderr=stderr, bound=bound)
        if (one.metric, one.group) in self._moments:
            raise WrongCall(
                "twice", f"{metric} of group {one.group!r} was measured by update(); it cannot be set as well"
            )
        self._cells[one.metric, one.group] = one

    @guarded(nothing)
    def state(self, n: Any = None, overall: Mapping[str, Any] | None = None) -> None:
        """State what the run itself believes of the whole; the service reconciles it with the group values.

        Args:
            n: Total number of samples.
            overall: Overall value by metric.
        """
        self._check_open()
        self._stated.update(stated_document(n, overall))

    @guarded(nothing)
    def loss(
        self,
        train: Any = None,
        val: Any = None,
        total: Any = None,
        parts: Mapping[str, Any] | None = None,
        weights: Mapping[str, Any] | None = None,
    ) -> None:
        """State the loss on both splits, and what the training loss is made of: total = Σ weight · part."""
        self._check_open()
        self._loss.update(loss_document(train, val, total, parts, weights))

    @guarded(lambda _self, error: verdicts.unknown(f"the evaluation could not be recorded: {error}"))
    def submit(self, timeout: float = 30.0) -> Verdict:
        """Write the evaluation to disk, send it, and wait for the verdict.

        May be called again to ask for the verdict of the same evaluation; nothing is sent twice.

        Args:
            timeout: Longest wait in seconds; 0 returns at once.

        Returns:
            Always a verdict: gate `unknown` when it is not known in time, `rejected` when it was refused.
        """
        if self._receipt is None:
            self._receipt = self._post(
                self._heading, self._collected(), self._stated, self._loss, self._remarks()
            )
        return self._receipt.wait(timeout)

    def _add(self, metric: str, values: Any, groups: Any) -> None:
        self._check_open()
        if not isinstance(metric, str) or not metric:
            raise WrongCall("metric_name", f"a metric's name must be a non-empty string, not {metric!r}")
        samples = samples_of(values)
        labels = labels_of(OVERALL if groups is None else groups, len(samples), self._heading.group_names)
        if len(samples) == 0:
            return
        self._check_cells(metric, labels)
        if self._heading.pools_squares(metric):
            samples = (
                [sample * sample for sample in samples] if isinstance(samples, list) else samples * samples
            )
        for name, moments in zip(
            labels.names, moments_by_index(samples, labels.index, len(labels.names)), strict=True
        ):
            key = (metric, name)
            self._moments[key] = self._moments.get(key, Moments()).merged(moments)

    def _check_cells(self, metric: str, labels: Labels) -> None:
        for name in labels.names:
            if (metric, name) in self._cells:
                raise WrongCall(
                    "twice", f"{metric} of group {name!r} was given by set(); it cannot be updated as well"
                )
        is_whole = labels.names == (OVERALL,)
        if any(known == metric and (group == OVERALL) != is_whole for known, group in self._moments):
            raise WrongCall(
                "mixed_groups",
                f"{metric} was updated with groups and without; give every batch its groups, or none",
            )

    def _check_open(self) -> None:
        if self._receipt is not None:
            raise WrongCall("already_submitted", "the evaluation was submitted already; make a new one")

    def _collected(self) -> list[Cell]:
        measured = [
            _measured(metric, group, moments, squares=self._heading.pools_squares(metric))
            for (metric, group), moments in self._moments.items()
        ]
        return measured + list(self._cells.values())

    def _remarks(self) -> dict[str, Any]:
        """What the numbers do not show: samples that were not finite, batches that were left out."""
        non_finite: dict[str, dict[str, int]] = {}
        for (metric, group), moments in self._moments.items():
            if moments.non_finite:
                non_finite.setdefault(metric, {})[group] = moments.non_finite
        dropped = {metric: dict(kinds) for metric, kinds in self._dropped.items()}
        return {
            **({"non_finite_samples": non_finite} if non_finite else {}),
            **({"dropped_batches": dropped} if dropped else {}),
        }


def _measured(metric: str, group: str, moments: Moments, *, squares: bool) -> Cell:
    value, stderr = moments.value, moments.stderr
    if squares:
        value = math.sqrt(value) if value >= 0 else value
        # The error of a root, to first order: d√x = dx / (2√x).
        stderr = None if stderr is None or value == 0 else stderr / (2 * value)
    return Cell(metric=metric, group=group, value=value, n=moments.total, stderr=stderr)
