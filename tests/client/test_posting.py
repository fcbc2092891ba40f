"""What is sent for what was called."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truerun import wire
from truerun.manners import WrongCall
from truerun.posting import cells_of, heading, loss_document, posting_document, stated_document

DEFAULTS: dict[str, Any] = {
    "stage": "final",
    "step": None,
    "purpose": "candidate",
    "metrics": None,
    "groups": None,
    "tiers": None,
    "about": {},
    "info": None,
}


def test_an_evaluation_is_sent_as_the_wire_format_says() -> None:
    head = heading(
        "heights-val",
        **{
            **DEFAULTS,
            "step": 1200,
            "metrics": {"log2_mse": "lower", "gap": {"direction": "lower", "unit": "m"}, "mae": None},
            "tiers": {"easy": ["k=4,m=2", "k=4,m=3"], "hard": ["k=6,m=3"]},
            "about": {"dataset": "codes", "split": None},
            "info": {"ttc": False},
        },
    )
    cells = cells_of(
        {"log2_mse": {"value": 0.18, "n": 421200}},
        {
            "k=4,m=2": {"log2_mse": 0.405, "n": 1800},
            "k=6,m=3": {"log2_mse": {"value": 10, "bound": "at_least"}},
        },
    )

    document = posting_document(
        head,
        cells,
        stated=stated_document(n=421200, overall={"log2_mse": 0.181483}),
        loss=loss_document(train=0.177264),
        info={},
        attempt_id="a",
    )

    assert document == {
        "suite": "heights-val",
        "stage": "final",
        "step": 1200,
        "purpose": "candidate",
        "values": [
            {
                "metric": "log2_mse",
                "group": "overall",
                "value": 0.18,
                "n": 421200,
                "stderr": None,
                "bound": "exact",
            },
            {
                "metric": "log2_mse",
                "group": "k=4,m=2",
                "value": 0.405,
                "n": 1800,
                "stderr": None,
                "bound": "exact",
            },
            {
                "metric": "log2_mse",
                "group": "k=6,m=3",
                "value": 10.0,
                "n": None,
                "stderr": None,
                "bound": "at_least",
            },
        ],
        "stated": {"n": 421200, "overall": {"log2_mse": 0.181483}},
        "loss": {"train": 0.177264},
        "info": {"ttc": False},
        "attempt_id": "a",
        "metrics": {"log2_mse": "lower", "gap": {"direction": "lower", "unit": "m"}, "mae": {}},
        "groups": [
            {"name": "k=4,m=2", "tier": "easy"},
            {"name": "k=4,m=3", "tier": "easy"},
            {"name": "k=6,m=3", "tier": "hard"},
        ],
        "dataset": "codes",
    }


@pytest.mark.parametrize(
    ("groups", "tiers", "documents"),
    [
        pytest.param(["a", "b"], None, [{"name": "a"}, {"name": "b"}], id="names"),
        pytest.param(
            {"a": "easy", "b": None}, None, [{"name": "a", "tier": "easy"}, {"name": "b"}], id="name to tier"
        ),
        pytest.param(None, {"a": "easy"}, [{"name": "a", "tier": "easy"}], id="tiers alone"),
        pytest.param(
            ["b", "a"], {"easy": ["a"]}, [{"name": "b"}, {"name": "a", "tier": "easy"}], id="both, in order"
        ),
        pytest.param(
            [{"name": "a", "tier": "own", "weight": 2}],
            {"easy": ["a"]},
            [{"name": "a", "tier": "own", "weight": 2}],
            id="own",
        ),
    ],
)
def test_groups_may_be_declared_in_several_ways(groups: Any, tiers: Any, documents: Any) -> None:
    assert list(heading("s", **{**DEFAULTS, "groups": groups, "tiers": tiers}).groups) == documents


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"purpose": "claim"}, id="purpose"),
        pytest.param({"stage": ""}, id="stage"),
        pytest.param({"step": 1.5}, id="half a step"),
        pytest.param({"metrics": "nrmse"}, id="metrics as text"),
        pytest.param({"groups": "easy"}, id="groups as text"),
        pytest.param({"groups": [{"tier": "easy"}]}, id="a group without a name"),
        pytest.param({"groups": ["a"], "tiers": {"easy": ["b"]}}, id="a tier of unknown groups"),
    ],
)
def test_a_heading_that_cannot_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(WrongCall):
        heading("s", **{**DEFAULTS, **wrong})


@pytest.mark.parametrize(
    ("values", "groups"),
    [
        pytest.param([0.1], None, id="a list"),
        pytest.param({"nrmse": "0.1"}, None, id="text"),
        pytest.param({"nrmse": {"n": 3}}, None, id="no value"),
        pytest.param({"nrmse": {"value": 1, "colour": 2}}, None, id="an unknown member"),
        pytest.param({}, {"easy": 0.1}, id="a group that is a number"),
        pytest.param({"nrmse": 0.1}, {"overall": {"nrmse": 0.2}}, id="the whole twice"),
    ],
)
def test_values_that_cannot_be_meant_are_refused(values: Any, groups: Any) -> None:
    with pytest.raises(WrongCall):
        cells_of(values, groups)


def test_an_absent_value_is_absent_not_zero() -> None:
    assert cells_of({"nrmse": None, "mae": 0.0}, None) == cells_of({"mae": 0.0}, None)


@given(st.floats())
def test_every_float_survives_the_wire(value: float) -> None:
    sent = json.loads(wire.encode({"value": value}), parse_constant=lambda _: pytest.fail("not strict JSON"))

    read = wire.number_of(sent["value"])

    assert read is not None
    assert read == value or (math.isnan(read) and math.isnan(value))


@given(st.text())
def test_every_name_survives_the_wire(name: str) -> None:
    assert json.loads(wire.encode({name: name})) == {name: name}
