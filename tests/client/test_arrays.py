"""Batches in every form become the same samples and labels."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import pytest

from truerun.arrays import labels_of, samples_of, scalar_of
from truerun.manners import WrongCall

numpy = pytest.importorskip("numpy")


class StandInTensor:
    """What a tensor on a device offers, with everything that would wait for the device forbidden."""

    def __init__(self, values: Any) -> None:
        self._values = numpy.asarray(values)
        self.is_detached = False

    def detach(self) -> StandInTensor:
        copy = StandInTensor(self._values)
        copy.is_detached = True
        return copy

    def numpy(self) -> Any:
        assert self.is_detached, "a tensor that requires a gradient cannot be read"
        return self._values

    def item(self) -> float:
        raise AssertionError("item() waits for the device, once a sample")

    __float__ = __array__ = item


class Hostile:
    def __float__(self) -> float:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([1, 2.0, 3], id="list"),
        pytest.param((1.0, 2.0, 3.0), id="tuple"),
        pytest.param(numpy.array([1, 2, 3], dtype=numpy.int32), id="int32"),
        pytest.param(numpy.array([1, 2, 3], dtype=numpy.float16), id="float16"),
        pytest.param(StandInTensor([1.0, 2.0, 3.0]), id="tensor"),
        pytest.param([numpy.float32(1), Fraction(2), StandInTensor(3.0)], id="a mixed list"),
        pytest.param([StandInTensor(1.0), StandInTensor(2.0), numpy.array(3.0)], id="a list of 0-d tensors"),
        pytest.param((value for value in (1, 2, 3)), id="generator"),
    ],
)
def test_batches_in_every_form_are_the_same_samples(values: Any) -> None:
    assert list(samples_of(values)) == [1.0, 2.0, 3.0]


def test_whether_predictions_hit_is_a_batch_too() -> None:
    assert list(samples_of(numpy.array([True, False]))) == [1.0, 0.0]
    assert list(samples_of([True, False])) == [1.0, 0.0]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        pytest.param(0.5, "scalar_batch", id="float"),
        pytest.param(numpy.float32(0.5), "scalar_batch", id="numpy scalar"),
        pytest.param(numpy.array(0.5), "scalar_batch", id="0-d array"),
        pytest.param(StandInTensor(0.5), "scalar_batch", id="0-d tensor"),
        pytest.param(numpy.ones((3, 1)), "shape_mismatch", id="column"),
        pytest.param(StandInTensor([[1.0], [2.0]]), "shape_mismatch", id="2-d tensor"),
        pytest.param([[1.0], [2.0]], "not_scalar", id="nested list"),
        pytest.param("abc", "not_numbers", id="text"),
        pytest.param(["a"], "not_numbers", id="list of text"),
        pytest.param(numpy.array(["a"]), "not_numbers", id="array of text"),
        pytest.param(numpy.array([1j]), "not_numbers", id="complex"),
        pytest.param([None], "not_numbers", id="None is not zero"),
        pytest.param({"a": 1.0}, "not_numbers", id="mapping"),
        pytest.param([Hostile()], "not_numbers", id="an object with a hostile __float__"),
        pytest.param(numpy.ma.masked_array([1.0, 2.0], mask=[True, False]), "masked_array", id="masked"),
    ],
)
def test_what_is_no_batch_is_named(values: Any, kind: str) -> None:
    with pytest.raises(WrongCall) as caught:
        samples_of(values)

    assert caught.value.kind == kind


def test_a_batch_is_copied() -> None:
    buffer = numpy.array([1.0, 2.0])

    samples = samples_of(buffer)
    buffer[:] = 0.0

    assert list(samples) == [1.0, 2.0]


@pytest.mark.parametrize(
    ("groups", "names"),
    [
        pytest.param(["a", "b", "a"], ["a", "b", "a"], id="strings"),
        pytest.param("a", ["a", "a", "a"], id="one for all"),
        pytest.param(numpy.array(["a", "b", "a"]), ["a", "b", "a"], id="array of strings"),
        pytest.param([4, 5, 4], ["4", "5", "4"], id="integers"),
        pytest.param(numpy.array([4, 5, 4]), ["4", "5", "4"], id="array of integers"),
        pytest.param(StandInTensor([4, 5, 4]), ["4", "5", "4"], id="tensor of integers"),
        pytest.param(
            numpy.array([0.3, 1, 0.3], dtype=numpy.float32), ["0.3", "1.0", "0.3"], id="float32 intervals"
        ),
        pytest.param([0.3, 1.0, 0.3], ["0.3", "1.0", "0.3"], id="floats"),
        pytest.param([4, "4", 4], ["4", "4", "4"], id="a number and its name are one group"),
    ],
)
def test_labels_in_every_form_name_the_same_groups(groups: Any, names: list[str]) -> None:
    labels = labels_of(groups, 3)

    assert [labels.names[i] for i in labels.index] == names
    assert len(set(labels.names)) == len(labels.names)


def test_integers_count_into_the_declared_groups() -> None:
    labels = labels_of(numpy.array([1, 0, 1]), 3, ("easy", "hard"))

    assert [labels.names[i] for i in labels.index] == ["hard", "easy", "hard"]


def test_declared_groups_that_are_numbers_are_meant_by_name() -> None:
    labels = labels_of([10, 20, 10], 3, ("20", "10"))

    assert [labels.names[i] for i in labels.index] == ["10", "20", "10"]


@pytest.mark.parametrize(
    ("groups", "declared", "kind"),
    [
        pytest.param(["a", "b"], (), "shape_mismatch", id="too few"),
        pytest.param(["a"] * 4, (), "shape_mismatch", id="too many"),
        pytest.param(7, (), "group_labels", id="a number for all"),
        pytest.param([0, 2, 0], ("easy", "hard"), "group_labels", id="beyond the declared"),
        pytest.param([0, -1, 0], ("easy", "hard"), "group_labels", id="negative does not count from the end"),
        pytest.param(["a", None, "a"], (), "group_labels", id="none"),
        pytest.param([math.nan] * 3, (), "group_labels", id="nan"),
        pytest.param(numpy.zeros((3, 1), dtype=int), (), "group_labels", id="column"),
        pytest.param([["a"], ["b"], ["a"]], (), "group_labels", id="unhashable"),
    ],
)
def test_labels_that_fit_no_batch_are_named(groups: Any, declared: tuple[str, ...], kind: str) -> None:
    with pytest.raises(WrongCall) as caught:
        labels_of(groups, 3, declared)

    assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("value", "number"),
    [
        pytest.param(2, 2.0, id="int"),
        pytest.param(numpy.float64(2.5), 2.5, id="numpy"),
        pytest.param(numpy.array(2.5), 2.5, id="0-d array"),
        pytest.param(StandInTensor(2.5), 2.5, id="0-d tensor"),
        pytest.param(10**400, math.inf, id="beyond every float"),
        pytest.param(-math.inf, -math.inf, id="infinity is a value"),
    ],
)
def test_one_number_in_every_form(value: Any, number: float) -> None:
    assert scalar_of(value) == number


@pytest.mark.parametrize("value", [[1.0], numpy.ones(1), StandInTensor([1.0]), "1", None, Hostile(), 1j])
def test_what_is_not_one_number_is_refused(value: Any) -> None:
    with pytest.raises(WrongCall):
        scalar_of(value)
