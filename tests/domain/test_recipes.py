"""Recipes: what siblings share."""

from __future__ import annotations

import math

import pytest

from app.domain.policies import Policy
from app.domain.recipes import recipe_digest

VOLATILE = Policy().volatile
CONFIG = {"lr": 0.1, "model": {"layers": [1, 2], "d": 64}, "seed": 1}


def digest(
    config: dict[str, object], commit: str | None = "c0ffee", volatile: tuple[str, ...] = VOLATILE
) -> bytes:
    return recipe_digest(config, commit, volatile)


@pytest.mark.parametrize(
    "config",
    [
        CONFIG | {"seed": 2},
        {key: value for key, value in CONFIG.items() if key != "seed"},
        CONFIG | {"output_dir": "/a"},
        CONFIG | {"data_path": "/b"},
        CONFIG | {"hostname": "gpu-7"},
        CONFIG | {"name": "try 3"},
        CONFIG | {"run_id": 7},
        CONFIG | {"train": {"seed": 5, "name": "x"}},
        CONFIG | {"train.seed": 5},
        CONFIG | {"output_dir": {"deep": 1}},
        dict(reversed(CONFIG.items())),
        {"lr": 0.1, "model.layers": [1.0, 2.0], "model": {"d": 64.0}, "seed": 1},
    ],
)
def test_seed_volatile_keys_order_and_nesting_do_not_make_another_recipe(config: dict[str, object]) -> None:
    if "train" in config:
        # An object whose keys are all volatile leaves nothing behind.
        assert digest({"train": config["train"]}) == digest({"train": {"name": "y"}})
    else:
        assert digest(config) == digest(CONFIG)


@pytest.mark.parametrize(
    "config",
    [
        CONFIG | {"lr": 0.2},
        CONFIG | {"lr": "0.1"},
        CONFIG | {"lr": math.nan},
        CONFIG | {"seeds": 3},
        CONFIG | {"Name": "x"},
        CONFIG | {"model": {"layers": [2, 1], "d": 64}},
        CONFIG | {"model": {"layers": [1, 2]}},
        CONFIG | {"extra": None},
        CONFIG | {"extra": {}},
        CONFIG | {"extra": False},
    ],
)
def test_everything_else_does(config: dict[str, object]) -> None:
    assert digest(config) != digest(CONFIG)


def test_false_and_zero_are_different_and_nan_is_itself() -> None:
    assert digest({"a": False}) != digest({"a": 0})
    assert digest({"a": math.nan}) == digest({"a": math.nan})


def test_the_commit_belongs_to_the_recipe_when_known() -> None:
    assert len({digest(CONFIG, "a"), digest(CONFIG, "b"), digest(CONFIG, None)}) == 3


def test_objects_in_lists_are_stripped_too() -> None:
    one, two = ({"stages": [{"lr": 1, "out_dir": d, "seed": s}]} for d, s in (("/a", 1), ("/b", 2)))

    assert digest(one) == digest(two)
    assert digest(one) != digest({"stages": [{"lr": 2}]})


def test_a_policy_may_name_other_keys() -> None:
    assert digest(CONFIG | {"lr": 9}, volatile=("lr",)) == digest(CONFIG, volatile=("lr",))
    assert digest(CONFIG | {"name": "x"}, volatile=()) != digest(CONFIG, volatile=())


def test_a_digest_has_sixteen_bytes_and_is_the_same_for_ever() -> None:
    assert digest({"lr": 0.1, "d": 64}, None).hex() == "bd067b5adc169b75518fa7082994744e"
