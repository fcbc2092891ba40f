"""Verdicts as strict JSON and back."""

from __future__ import annotations

import json
import math

import pytest

from app.domain.alerts import drafts_from
from app.domain.record import (
    aggregate_from_document,
    aggregate_to_document,
    check_from_document,
    check_to_document,
    line_from_document,
    line_to_document,
    number_from_json,
    number_to_json,
)
from tests.domain import test_sentences


def strict(document: object) -> object:
    """Through JSON and back, refusing NaN as Postgres does."""
    return json.loads(json.dumps(document, allow_nan=False))


def same(a: object, b: object) -> bool:
    """Equality that takes NaN for itself."""
    return repr(a) == repr(b)


def test_checks_aggregates_and_lines_come_back_unchanged() -> None:
    for name, verdict in test_sentences.cases().items():
        for check in verdict.checks:
            assert same(check_from_document(strict(check_to_document(check))), check), name
        for aggregate in verdict.aggregates:
            found = aggregate_from_document(strict(aggregate_to_document(aggregate)))
            assert same(found, aggregate), name
        for draft in drafts_from(verdict, "r", "s", "final"):
            for line in draft.lines:
                assert same(line_from_document(strict(line_to_document(line))), line), name


@pytest.mark.parametrize(
    ("x", "document"),
    [(None, None), (1.5, 1.5), (math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")],
)
def test_numbers_that_are_not_finite_travel_as_words(x: float | None, document: object) -> None:
    assert number_to_json(x) == document
    assert same(number_from_json(document), x)


def test_another_word_is_no_number() -> None:
    with pytest.raises(ValueError, match="is no number"):
        number_from_json("inf")
