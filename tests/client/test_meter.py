"""A meter turns batches into the evaluation that two passes over all samples would give."""

from __future__ import annotations

import logging
import math
import statistics
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truerun.manners import Manners
from truerun.meter import Meter, Receipt
from truerun.posting import Cell, Heading, heading
from truerun.verdict import Verdict

numpy = pytest.importorskip("numpy")


class Desk(Receipt):
    """Takes what a meter posts."""

    def __init__(self) -> None:
        self.posted: list[dict[str, Any]] = []

    def post(
        self,
        head: Heading,
        cells: list[Cell],
        stated: Mapping[str, Any],
        loss: Mapping[str, Any],
        remarks: Mapping[str, Any],
    ) -> Receipt:
        self.posted.append(
            {
                "head": head,
                "cells": {(one.metric, one.group): one for one in cells},
                "stated": dict(stated),
                "loss": dict(loss),
                "info": dict(remarks),
            }
        )
        return self

    def wait(self, timeout: float, /) -> Verdict:
        return Verdict(gate="open", sentence=f"waited {timeout:g}")

    @property
    def cells(self) -> dict[tuple[str, str], Cell]:
        cells: dict[tuple[str, str], Cell] = self.posted[-1]["cells"]
        return cells


def a_meter(*, strict: bool = True, **described: Any) -> tuple[Meter, Desk]:
    desk = Desk()
    defaults: dict[str, Any] = {
        "stage": "final",
        "step": None,
        "purpose": "candidate",
        "metrics": None,
        "groups": None,
        "tiers": None,
        "about": {},
        "info": None,
    }
    head = heading("suite", **{**defaults, **described})
    return Meter(head, desk.post, Manners(strict=strict), is_muted=lambda: False), desk


samples = st.floats(min_value=-1e4, max_value=1e4)
labelled_batches = st.lists(
    st.lists(st.tuples(samples, st.sampled_from(["easy", "medium", "hard"])), max_size=12), max_size=8
)


@given(labelled_batches)
def test_a_meter_gives_the_two_pass_statistics_of_every_group(batches: list[list[tuple[float, str]]]) -> None:
    meter, desk = a_meter()
    for batch in batches:
        meter.update(
            "err", numpy.array([value for value, _ in batch], dtype=float), [group for _, group in batch]
        )

    meter.submit()

    by_group: dict[str, list[float]] = {}
    for value, group in (pair for batch in batches for pair in batch):
        by_group.setdefault(group, []).append(value)
    assert {group for _, group in desk.cells} == set(by_group)
    for group, values in by_group.items():
        cell = desk.cells["err", group]
        assert cell.n == len(values)
        assert math.isclose(cell.value, statistics.fmean(values), rel_tol=1e-9, abs_tol=1e-7)
        if len(values) > 1:
            expected = statistics.stdev(values) / math.sqrt(len(values))
            assert cell.stderr is not None
            assert math.isclose(cell.stderr, expected, rel_tol=1e-6, abs_tol=1e-6)
        else:
            assert cell.stderr is None


@given(labelled_batches, st.randoms(use_true_random=False))
def test_the_order_of_batches_and_of_samples_does_not_matter(batches: Any, random: Any) -> None:
    first, one = a_meter()
    second, other = a_meter()
    shuffled = [random.sample(batch, len(batch)) for batch in random.sample(batches, len(batches))]

    for meter, parts in ((first, batches), (second, shuffled)):
        for batch in parts:
            meter.update("err", [value for value, _ in batch], [group for _, group in batch])
        meter.submit()

    assert set(one.cells) == set(other.cells)
    for key, cell in one.cells.items():
        assert cell.n == other.cells[key].n
        assert math.isclose(cell.value, other.cells[key].value, rel_tol=1e-9, abs_tol=1e-8)
        assert math.isclose(cell.stderr or 0.0, other.cells[key].stderr or 0.0, rel_tol=1e-6, abs_tol=1e-6)


@given(st.lists(samples, min_size=2, max_size=40))
def test_an_rms_metric_is_the_root_of_the_mean_square(errors: list[float]) -> None:
    meter, desk = a_meter(metrics={"my_rms": {"direction": "lower", "pooling": "rms"}})
    for batch in (errors[:1], errors[1:]):
        meter.update("rmse", batch)
        meter.update("my_rms", batch)

    meter.submit()

    squares = [error * error for error in errors]
    rms = math.sqrt(statistics.fmean(squares))
    for metric in ("rmse", "my_rms"):
        cell = desk.cells[metric, "overall"]
        assert math.isclose(cell.value, rms, rel_tol=1e-9, abs_tol=1e-9)
        if rms > 1e-3:
            expected = statistics.stdev(squares) / math.sqrt(len(squares)) / (2 * rms)
            assert cell.stderr is not None
            assert math.isclose(cell.stderr, expected, rel_tol=1e-6, abs_tol=1e-6)


def test_a_metric_that_says_it_pools_as_mean_is_averaged_whatever_its_name() -> None:
    meter, desk = a_meter(metrics={"rmse": {"direction": "lower", "pooling": "mean"}})
    meter.update("rmse", [3.0, 4.0])

    meter.submit()

    assert desk.cells["rmse", "overall"].value == 3.5


def test_samples_without_groups_measure_the_whole() -> None:
    meter, desk = a_meter()
    meter.update("nrmse", [0.1, 0.3])

    verdict = meter.submit(timeout=5)

    assert verdict.sentence == "waited 5"
    assert desk.cells["nrmse", "overall"].value == pytest.approx(0.2)
    assert desk.cells["nrmse", "overall"].n == 2


@pytest.mark.parametrize(
    ("values", "groups"),
    [
        pytest.param(0.5, None, id="reduced to a scalar"),
        pytest.param(numpy.float64(0.5), ["a"], id="reduced, with groups"),
        pytest.param([0.5, 0.6], ["a"], id="fewer groups than values"),
        pytest.param([[0.5], [0.6]], ["a", "b"], id="a column"),
    ],
)
def test_a_batch_that_fits_nothing_raises_when_strict(values: Any, groups: Any) -> None:
    meter, _ = a_meter(strict=True)

    with pytest.raises(ValueError, match=r"shape|one number|number of|\(B,\)"):
        meter.update("nrmse", values, groups)


def test_a_batch_that_fits_nothing_is_left_out_counted_and_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    meter, desk = a_meter(strict=False)
    meter.update("nrmse", [0.1], ["easy"])
    for _ in range(3):
        meter.update("nrmse", 0.5, ["easy"])
    meter.update("nrmse", [0.5, 0.6], ["easy"])

    with caplog.at_level(logging.WARNING):
        meter.submit()

    assert desk.cells["nrmse", "easy"].n == 1
    assert desk.posted[-1]["info"] == {"dropped_batches": {"nrmse": {"scalar_batch": 3, "shape_mismatch": 1}}}
    assert meter.manners.counts == {"scalar_batch": 3, "shape_mismatch": 1}
    assert len(caplog.records) == 2


def test_a_foreign_object_that_raises_costs_its_batch_and_nothing_else() -> None:
    class Exploding:
        def __iter__(self) -> Any:
            raise RuntimeError("from the depths")

    meter, desk = a_meter(strict=False)
    meter.update("nrmse", Exploding())
    meter.update("nrmse", [0.2])

    meter.submit()

    assert desk.cells["nrmse", "overall"].n == 1
    assert desk.posted[-1]["info"] == {"dropped_batches": {"nrmse": {"RuntimeError": 1}}}


def test_a_wrong_signature_does_not_raise_into_the_training() -> None:
    meter, _ = a_meter(strict=False)

    meter.update()  # type: ignore[call-arg]
    meter.set("a", 1.0, colour="red")  # type: ignore[call-arg]

    assert meter.manners.counts == {"update:TypeError": 1, "set:TypeError": 1}


def test_non_finite_samples_are_values_and_are_counted() -> None:
    meter, desk = a_meter()
    meter.update("nrmse", [0.1, math.nan, 0.3], ["a", "a", "b"])

    meter.submit()

    assert math.isnan(desk.cells["nrmse", "a"].value)
    assert desk.cells["nrmse", "a"].n == 2
    assert desk.cells["nrmse", "a"].stderr is None
    assert desk.cells["nrmse", "b"].value == 0.3
    assert desk.posted[-1]["info"] == {"non_finite_samples": {"nrmse": {"a": 1}}}


def test_grouped_and_ungrouped_batches_of_a_metric_do_not_mix() -> None:
    meter, _ = a_meter()
    meter.update("nrmse", [0.1], ["a"])

    with pytest.raises(ValueError, match="with groups and without"):
        meter.update("nrmse", [0.1])

    meter.update("mae", [0.1])


def test_a_cell_is_either_measured_or_set() -> None:
    meter, _ = a_meter()
    meter.update("nrmse", [0.1], ["a"])
    meter.set("mae", 0.3, "a")

    with pytest.raises(ValueError, match="cannot be set"):
        meter.set("nrmse", 0.2, "a")
    with pytest.raises(ValueError, match="cannot be updated"):
        meter.update("mae", [0.1], ["a"])


def test_set_numbers_carry_what_is_known_of_them() -> None:
    meter, desk = a_meter()
    meter.set("conservation_gap", 3.2)
    meter.set("vrmse", 10, "gray_scott", n=120.0, stderr=0.5, bound="at_least")
    meter.set("vrmse", 9, "gray_scott", n=120, bound="at_least")

    meter.submit()

    assert desk.cells["conservation_gap", "overall"] == Cell(
        metric="conservation_gap", group="overall", value=3.2
    )
    assert desk.cells["vrmse", "gray_scott"] == Cell(
        metric="vrmse", group="gray_scott", value=9.0, n=120, bound="at_least"
    )


@pytest.mark.parametrize(
    "wrong", [{"bound": "about"}, {"n": 1.5}, {"n": -1}, {"value": "0.1"}, {"metric": ""}]
)
def test_a_number_that_cannot_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    meter, _ = a_meter()

    with pytest.raises(ValueError, match=r".+"):
        meter.set(**{"metric": "nrmse", "value": 0.1, **wrong})


def test_what_the_run_states_and_its_losses_are_kept_apart_from_values() -> None:
    meter, desk = a_meter()
    meter.update("log2_mse", [0.1, 0.2])
    meter.state(n=421200)
    meter.state(overall={"log2_mse": numpy.float32(0.5)})
    meter.loss(train=0.177264, val=0.181483, parts={"pde": 1.0}, weights={"pde": 0.5}, total=0.5)

    meter.submit()

    assert desk.posted[-1]["stated"] == {"n": 421200, "overall": {"log2_mse": 0.5}}
    assert desk.posted[-1]["loss"] == {
        "train": 0.177264,
        "val": 0.181483,
        "total": 0.5,
        "parts": {"pde": 1.0},
        "weights": {"pde": 0.5},
    }


def test_submitting_twice_sends_once_and_asks_again() -> None:
    meter, desk = a_meter()
    meter.update("nrmse", [0.1])

    first, second = meter.submit(timeout=1), meter.submit(timeout=2)

    assert (first.sentence, second.sentence) == ("waited 1", "waited 2")
    assert len(desk.posted) == 1
    with pytest.raises(ValueError, match="submitted already"):
        meter.update("nrmse", [0.1])


def test_a_muted_meter_does_not_even_look_at_the_batch() -> None:
    class Untouchable:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"{name} was asked for")

    desk = Desk()
    meter = Meter(Heading(suite="s"), desk.post, Manners(strict=True), is_muted=lambda: True)

    meter.update("nrmse", Untouchable(), Untouchable())

    assert meter.manners.counts == {}


def test_declared_integer_groups_are_counted_by_position() -> None:
    meter, desk = a_meter(groups=[{"name": "easy", "tier": "low"}, "hard"])
    meter.update("nrmse", [0.1, 0.2, 0.3], numpy.array([1, 0, 1]))

    meter.submit()

    assert desk.cells["nrmse", "hard"].n == 2
    assert desk.cells["nrmse", "easy"].value == 0.2
