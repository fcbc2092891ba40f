"""RULES.md, *Metrics*: what a name brings and what a suite has to say."""

from __future__ import annotations

import math

import pytest

from app.domain.metrics import (
    WELL_KNOWN,
    Direction,
    Metric,
    Pooling,
    Role,
    Scale,
    gap,
    metric_to_document,
    resolve_metric,
)
from app.errors import InvalidInput

ERRORS = ["mse", "mae", "rmse", "nrmse", "vrmse", "rel_l2", "log2_mse", "loss"]
SCORES = ["accuracy", "f1", "auc", "r2"]


def test_well_known_names_bring_everything() -> None:
    assert set(WELL_KNOWN) == {*ERRORS, *SCORES}
    for name in ERRORS:
        assert (WELL_KNOWN[name].direction, WELL_KNOWN[name].ideal) == (Direction.LOWER, 0.0)
    for name in SCORES:
        assert (WELL_KNOWN[name].direction, WELL_KNOWN[name].ideal) == (Direction.HIGHER, 1.0)
    by_pooling = {pooling: {n for n, m in WELL_KNOWN.items() if m.pooling is pooling} for pooling in Pooling}
    assert by_pooling[Pooling.MEAN] == {"mse", "mae", "log2_mse", "loss", "accuracy"}
    assert by_pooling[Pooling.RMS] == {"rmse"}
    assert all(metric.role is Role.PRIMARY for metric in WELL_KNOWN.values())


@pytest.mark.parametrize("spec", [None, {}, {"pooling": "mean"}, {"role": "secondary"}])
def test_another_name_needs_a_direction_and_the_error_shows_the_line(spec: object) -> None:
    with pytest.raises(InvalidInput, match=r'metrics=\{"my_err": "lower"\}') as caught:
        resolve_metric("my_err", spec)

    assert caught.value.field == "metrics.my_err"


def test_a_word_is_enough() -> None:
    assert resolve_metric("my_err", "lower") == Metric(name="my_err", direction=Direction.LOWER)
    assert resolve_metric("reward", "higher") == Metric(name="reward", direction=Direction.HIGHER)
    assert resolve_metric("bc", "limit") == Metric(name="bc", direction=None, role=Role.LIMIT)
    assert resolve_metric("mse", "limit").role is Role.LIMIT
    assert resolve_metric("mse", "limit").ideal == 0.0


def test_a_spec_lies_over_what_the_name_brings() -> None:
    metric = resolve_metric(
        "mse", {"role": "secondary", "unit": "m²", "scale": "physical", "groups": ["a", "b", "a"]}
    )

    assert metric == Metric(
        name="mse",
        direction=Direction.LOWER,
        ideal=0.0,
        pooling=Pooling.MEAN,
        role=Role.SECONDARY,
        unit="m²",
        scale=Scale.PHYSICAL,
        groups=("a", "b"),
    )


def test_an_ideal_can_be_taken_away_and_goes_with_its_direction() -> None:
    assert resolve_metric("loss", {"ideal": None}).ideal is None
    assert resolve_metric("accuracy", "lower").ideal is None
    assert resolve_metric("my_score", {"direction": "higher", "ideal": 10}).ideal == 10.0


def test_a_target_says_its_direction() -> None:
    assert resolve_metric("ph", {"target": 7}) == Metric(name="ph", direction=Direction.TARGET, target=7.0)
    assert resolve_metric("mse", {"target": 0.1}).ideal is None


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"direction": "down"}, "metrics.x.direction"),
        ("down", "metrics.x.direction"),
        ({"direction": "target"}, "metrics.x.target"),
        ({"direction": "lower", "target": 1}, "metrics.x.target"),
        ({"target": 1, "ideal": 0}, "metrics.x.ideal"),
        ({"role": "limit", "ideal": 0}, "metrics.x.ideal"),
        ({"direction": "lower", "ideal": "0"}, "metrics.x.ideal"),
        ({"direction": "lower", "ideal": True}, "metrics.x.ideal"),
        ({"direction": "lower", "ideal": math.nan}, "metrics.x.ideal"),
        ({"target": 10**400}, "metrics.x.target"),
        ({"direction": "lower", "pooling": "median"}, "metrics.x.pooling"),
        ({"direction": "lower", "role": "main"}, "metrics.x.role"),
        ({"direction": "lower", "scale": "log"}, "metrics.x.scale"),
        ({"direction": "lower", "unit": "a\nb"}, "metrics.x.unit"),
        ({"direction": "lower", "unit": 5}, "metrics.x.unit"),
        ({"direction": "lower", "groups": []}, "metrics.x.groups"),
        ({"direction": "lower", "groups": "a"}, "metrics.x.groups"),
        ({"directoin": "lower"}, "metrics.x.directoin"),
        (5, "metrics.x"),
    ],
)
def test_a_spec_that_makes_no_sense_names_its_field(spec: object, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        resolve_metric("x", spec)

    assert caught.value.field == field


def test_a_misspelt_key_is_guessed() -> None:
    with pytest.raises(InvalidInput, match="did you mean direction"):
        resolve_metric("x", {"directoin": "lower"})


@pytest.mark.parametrize("name", ["", "a\x00b", "line\nbreak", "\ud800", "x" * 257, 5])
def test_a_name_is_printable_text(name: str) -> None:
    with pytest.raises(InvalidInput, match="a metric's name must"):
        resolve_metric(name, "lower")


@pytest.mark.parametrize("name", ["loss/pde", "R²", "x" * 256, "Verlust (Prüfung)"])
def test_any_printable_text_is_a_name(name: str) -> None:
    assert resolve_metric(name, "lower").name == name


@pytest.mark.parametrize(
    "metric",
    [
        *WELL_KNOWN.values(),
        resolve_metric("ph", {"target": 7, "unit": "pH", "scale": "normalized"}),
        resolve_metric("bc", "limit"),
        resolve_metric("loss", {"ideal": None, "groups": ["a"]}),
        resolve_metric("accuracy", "lower"),
    ],
    ids=lambda metric: metric.name,
)
def test_a_document_brings_the_same_metric_back(metric: Metric) -> None:
    assert resolve_metric(metric.name, metric_to_document(metric)) == metric


@pytest.mark.parametrize(
    ("spec", "x", "expected"),
    [
        ("lower", 3.0, 3.0),
        ("higher", 3.0, -3.0),
        ({"direction": "lower", "ideal": 1}, 3.0, 2.0),
        ({"direction": "higher", "ideal": 1}, 0.75, 0.25),
        ({"target": 5}, 3.0, 2.0),
        ({"target": 5}, 7.0, 2.0),
    ],
)
def test_a_gap_is_the_distance_in_the_worse_direction(spec: object, x: float, expected: float) -> None:
    assert gap(resolve_metric("x", spec), x) == expected
