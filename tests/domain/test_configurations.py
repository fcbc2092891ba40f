"""Configurations beside each other."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.configurations import Leaf, entries, flatten, is_seed, is_volatile

_KEYS = st.sampled_from(["a", "b", "c", "a.b", "a.b.c", "lr", "", "x[0]"])
_SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False) | st.sampled_from("xy")
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=8,
)
CONFIGS = st.dictionaries(_KEYS, _VALUES, max_size=4)


def count(value: Any) -> int:
    """Leaves, told by another rule than the code's: what is neither a full object nor a list that holds an object."""
    if isinstance(value, dict):
        return sum(map(count, value.values())) if value else 1
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return sum(map(count, value))
    return 1


@given(CONFIGS)
def test_no_value_is_lost_whatever_the_keys_look_like(config: dict[str, Any]) -> None:
    flat = flatten(config)

    assert len(flat) == (count(config) if config else 0)
    assert not any(isinstance(value, dict) and value for value in flat.values())


@given(CONFIGS)
def test_a_flat_configuration_is_flat_already(config: dict[str, Any]) -> None:
    flat = flatten(config)

    assert flatten(flat) == flat


@given(CONFIGS)
def test_a_configuration_does_not_differ_from_itself(config: dict[str, Any]) -> None:
    copy = json.loads(json.dumps(config))

    assert not any(entry.differs for entry in entries([config, copy, config]))


@given(CONFIGS, CONFIGS)
def test_a_difference_is_one_from_either_side(left: dict[str, Any], right: dict[str, Any]) -> None:
    there = {entry.key: entry.differs for entry in entries([left, right])}
    back = {entry.key: entry.differs for entry in entries([right, left])}

    assert there == back


@given(CONFIGS, CONFIGS)
def test_no_difference_means_the_same_values(left: dict[str, Any], right: dict[str, Any]) -> None:
    differs = any(entry.differs for entry in entries([left, right]))

    # True == 1 in Python and not in JSON, hence the detour in one direction only.
    if not differs:
        assert flatten(left) == flatten(right)


@given(st.lists(CONFIGS, min_size=1, max_size=4))
def test_what_a_configuration_has_not_is_no_value(configs: list[dict[str, Any]]) -> None:
    for entry in entries(configs):
        for config, leaf in zip(configs, entry.leaves, strict=True):
            assert (leaf is not None) == (entry.key in flatten(config))


@pytest.mark.parametrize(
    ("left", "right", "differing"),
    [
        pytest.param({"lr": 1}, {"lr": 1.0}, [], id="1 is 1.0"),
        pytest.param({"on": True}, {"on": 1}, ["on"], id="true is not 1"),
        pytest.param({"lr": 0}, {}, ["lr"], id="zero is not absent"),
        pytest.param({"lr": None}, {}, ["lr"], id="null is not absent"),
        pytest.param({"lr": None}, {"lr": 0}, ["lr"], id="null is not zero"),
        pytest.param({"a": {"b": 1}}, {"a.b": 1}, [], id="nested is dotted"),
        pytest.param({"a": {}}, {}, ["a"], id="empty is not absent"),
        pytest.param({"a": [1, 2]}, {"a": [1, 2.0]}, [], id="lists"),
        pytest.param({"a": [1, 2]}, {"a": [2, 1]}, ["a"], id="order counts in a list"),
        pytest.param(
            {"l": [{"d": 1, "e": 5}]},
            {"l": [{"d": 2, "e": 5}]},
            ["l[0].d"],
            id="objects in lists by their keys",
        ),
    ],
)
def test_what_differs(left: dict[str, Any], right: dict[str, Any], differing: list[str]) -> None:
    assert [entry.key for entry in entries([left, right]) if entry.differs] == differing


def test_a_key_and_its_dotted_double_in_one_configuration_are_both_kept() -> None:
    assert flatten({"a.b": 1, "a": {"b": 2}}) == {"a.b": 2, "a.b (dotted)": 1}


def test_absent_stands_beside_null_and_zero() -> None:
    (entry,) = entries([{"lr": None}, {}, {"lr": 0}])

    assert entry.leaves == (Leaf(value=None), None, Leaf(value=0))


def test_seeds_and_volatile_keys_are_told_by_the_parts_of_a_key() -> None:
    patterns = ("*dir*", "host*", "*_id")

    assert [is_seed(key) for key in ("seed", "data.seed", "seeds", "seed.data")] == [True, True, False, False]
    assert [is_volatile(key, patterns) for key in ("out_dir", "dirs.data", "x.job_id", "lr")] == [
        True,
        True,
        True,
        False,
    ]
    assert is_volatile("name[0].first", ("name",))
