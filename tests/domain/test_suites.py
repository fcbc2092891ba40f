"""Suites: documents, digests of cells, and what keeps the champion."""

from __future__ import annotations

import json

import pytest

from app.domain.suites import (
    CellDigests,
    Suite,
    cell_digest,
    differing_fields,
    lead_metric,
    suite_from_document,
    suite_to_document,
)
from app.errors import InvalidInput
from tests.domain.builders import a_suite


def problems_of(document: object) -> list[str | None]:
    with pytest.raises(InvalidInput) as caught:
        suite_from_document("s", 1, document, None)
    assert caught.value.field == caught.value.problems[0].field
    return [problem.field for problem in caught.value.problems]


METRICS = {"mse": None}


@pytest.mark.parametrize(
    ("document", "fields"),
    [
        ({"metrics": {}}, ["metrics"]),
        ({}, ["metrics"]),
        ({"metrics": {"my_err": None}}, ["metrics.my_err"]),
        ({"metrics": {"my_err": {"direction": "down"}}}, ["metrics.my_err.direction"]),
        ({"metrics": METRICS, "groups": "a"}, ["groups"]),
        ({"metrics": METRICS, "groups": [5]}, ["groups.0"]),
        ({"metrics": METRICS, "groups": ["a", "b", "a"]}, ["groups.2.name"]),
        (
            {"metrics": METRICS, "groups": ["overall", "macro", "worst", "tier:x"]},
            [f"groups.{i}.name" for i in range(4)],
        ),
        ({"metrics": METRICS, "groups": [""]}, ["groups.0.name"]),
        ({"metrics": METRICS, "groups": [{"name": "a", "tier": "\n"}]}, ["groups.0.tier"]),
        ({"metrics": METRICS, "groups": [{"name": "a", "wieght": 1}]}, ["groups.0.wieght"]),
        ({"metrics": METRICS, "groups": [{"name": "a", "weight": 1}, "b"]}, ["groups.1.weight"]),
        ({"metrics": METRICS, "groups": [{"name": "a", "weight": 0}]}, ["groups.0.weight"]),
        ({"metrics": METRICS, "groups": [{"name": "a", "weight": -1}]}, ["groups.0.weight"]),
        ({"metrics": METRICS, "groups": [{"name": "a", "weight": "1"}]}, ["groups.0.weight"]),
        ({"metrics": METRICS, "groups": [{"name": "a", "weight": float("nan")}]}, ["groups.0.weight"]),
        ({"metrics": METRICS, "split": 5}, ["split"]),
        ({"metrics": METRICS, "datset": "x"}, ["datset"]),
        ({"metrics": {"mse": {"groups": ["z"]}}, "groups": ["a"]}, ["metrics.mse.groups"]),
        ({"metrics": METRICS, "metric_order": ["mae"]}, ["metric_order"]),
        ([], [None]),
        ({"metrics": {"\ud800": "lower"}}, ["metrics.\\ud800"]),
        ({"metrics": METRICS, "\x00" * 999: 1}, ["\\x00" * 64]),
        ({"metrics": {"x": None}, "groups": [""], "splt": ""}, ["splt", "groups.0.name", "metrics.x"]),
    ],
)
def test_every_problem_of_a_document_names_its_field(document: object, fields: list[str | None]) -> None:
    assert problems_of(document) == fields


def test_short_forms_are_read() -> None:
    suite = suite_from_document(
        "s", 3, {"groups": ["a", {"name": "b"}], "metrics": {"mse": None, "x": "lower"}}, None
    )

    assert [group.name for group in suite.groups] == ["a", "b"]
    assert [metric.name for metric in suite.metrics] == ["mse", "x"]
    assert (suite.key, suite.version, dict(suite.frozen_weights)) == ("s", 3, {})


def test_a_document_brings_the_same_suite_back_even_from_a_store_that_sorts_keys() -> None:
    suite = a_suite(
        (
            {"name": "a", "tier": "t", "weight": 1, "definition": "k = 4", "label": "A"},
            {"name": "b", "weight": 2},
        ),
        {"z_err": "lower", "accuracy": {"role": "secondary"}, "mse": None},
        frozen={"a": 1.0},
        dataset="d",
        dataset_version="2",
        split="val",
        protocol="p",
    )

    stored = json.loads(json.dumps(suite_to_document(suite), sort_keys=True))

    assert suite_from_document("suite", 1, stored, {"a": 1.0}) == suite


def test_the_first_primary_metric_leads() -> None:
    suite = a_suite(metrics={"bc": "limit", "mae": {"role": "secondary"}, "mse": None, "r2": None})

    lead = lead_metric(suite)

    assert lead is not None
    assert lead.name == "mse"
    assert lead_metric(a_suite(metrics={"bc": "limit"})) is None


BASE = a_suite(
    ({"name": "a", "tier": "t", "definition": "k = 4"}, {"name": "b", "tier": "t"}), {"mse": None, "r2": None}
)


def changed(
    groups: list[object] | None = None, metrics: dict[str, object] | None = None, **fields: str
) -> Suite:
    document = suite_to_document(BASE) | fields
    if groups is not None:
        document["groups"] = groups
    if metrics is not None:
        document["metrics"] = metrics
        del document["metric_order"]
    return suite_from_document("suite", 2, document, None)


A, B = {"name": "a", "tier": "t", "definition": "k = 4"}, {"name": "b", "tier": "t"}
KEEPS = {
    "labels": changed([A | {"label": "A"}, B]),
    "order": changed([B, A]),
    "another group": changed([A, B, {"name": "c", "definition": "k = 9"}]),
    "another metric": changed(metrics={"r2": None, "mse": None, "mae": None}),
    "a role": changed(metrics={"mse": {"role": "secondary"}, "r2": None}),
}


@pytest.mark.parametrize("other", KEEPS.values(), ids=KEEPS.keys())
@pytest.mark.parametrize("group", ["a", "b", "overall", "macro", "tier:t"])
def test_labels_order_roles_and_additions_keep_every_cell(other: object, group: str) -> None:
    assert cell_digest(BASE, "mse", group) == cell_digest(other, "mse", group)
    assert differing_fields(BASE, other, "mse", group) == ()


@pytest.mark.parametrize(
    ("other", "fields", "cells"),
    [
        pytest.param(changed(dataset="d"), ("dataset",), "a b overall macro tier:t", id="dataset"),
        pytest.param(
            changed(dataset_version="2"), ("dataset_version",), "a b overall macro tier:t", id="version"
        ),
        pytest.param(changed(split="test"), ("split",), "a b overall macro tier:t", id="split"),
        pytest.param(changed(protocol="p"), ("protocol",), "a b overall macro tier:t", id="protocol"),
        pytest.param(
            changed(metrics={"mse": {"unit": "m"}, "r2": None}),
            ("unit",),
            "a b overall macro tier:t",
            id="unit",
        ),
        pytest.param(changed([A | {"definition": "k = 5"}, B]), ("definition",), "a", id="definition"),
        pytest.param(
            changed([A | {"weight": 1}, B | {"weight": 2}]), ("weights",), "overall tier:t", id="weights"
        ),
    ],
)
def test_what_changes_the_meaning_of_a_cell_changes_its_digest_and_no_other(
    other: object, fields: tuple[str, ...], cells: str
) -> None:
    for group in ("a", "b", "overall", "macro", "tier:t"):
        differs = group in cells.split()
        assert (cell_digest(BASE, "mse", group) != cell_digest(other, "mse", group)) == differs
        assert differing_fields(BASE, other, "mse", group) == (fields if differs else ())


def test_a_group_that_moved_to_another_tier_makes_both_tiers_incomparable() -> None:
    moved = changed([A, B | {"tier": "u"}])

    assert differing_fields(BASE, moved, "mse", "tier:t") == ("tier",)
    assert differing_fields(BASE, moved, "mse", "tier:u") == ("tier",)
    assert differing_fields(BASE, moved, "mse", "overall") == ()


def test_weights_matter_only_where_something_is_pooled() -> None:
    weighted = changed([A | {"weight": 1}, B | {"weight": 2}])

    assert differing_fields(BASE, weighted, "r2", "overall") == ()
    assert cell_digest(BASE, "r2", "overall") == cell_digest(weighted, "r2", "overall")


def test_only_the_proportions_of_weights_matter() -> None:
    one, ten = (changed([A | {"weight": w}, B | {"weight": 2 * w}]) for w in (1, 10))

    assert cell_digest(one, "mse", "overall") == cell_digest(ten, "mse", "overall")
    assert differing_fields(one, ten, "mse", "overall") == ()


def test_a_new_weighted_group_changes_the_overalls_digest_but_not_that_of_another_tier() -> None:
    old = changed([A | {"weight": 1}, B | {"weight": 2}])
    new = changed([A | {"weight": 1}, B | {"weight": 2}, {"name": "c", "tier": "u", "weight": 4}])

    assert cell_digest(old, "mse", "tier:t") == cell_digest(new, "mse", "tier:t")
    assert cell_digest(old, "mse", "overall") != cell_digest(new, "mse", "overall")


def test_frozen_weights_are_not_part_of_a_digest() -> None:
    frozen = a_suite(("a", "b"), frozen={"a": 0.9, "b": 0.1})

    assert cell_digest(frozen, "mse", "overall") == cell_digest(a_suite(("a", "b")), "mse", "overall")


def test_cells_and_metrics_have_their_own_digests() -> None:
    cells = [
        cell_digest(BASE, m, g)
        for m in ("mse", "r2")
        for g in ("a", "b", "new", "overall", "macro", "tier:t")
    ]

    assert len(set(cells)) == len(cells)
    assert all(cell is not None and len(cell) == 16 for cell in cells)
    assert cell_digest(BASE, "unknown", "a") is None


def test_many_digests_are_the_same_as_one_by_one() -> None:
    digests = CellDigests(BASE)

    for group in ("a", "overall", "a"):
        assert digests.of("mse", group) == cell_digest(BASE, "mse", group)


def test_a_metric_that_only_one_suite_has_does_not_compare() -> None:
    other = changed(metrics={"mse": None, "mae": None})

    assert differing_fields(BASE, other, "mae", "a") == ("metric",)
