from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import bindparam, cast, select
from sqlalchemy.dialects.postgresql import JSONB

from app.domain.recipes import recipe_digest
from app.errors import InvalidInput
from app.services.documents import checked_key, checked_name, checked_tags, storable
from tests.services.world import World

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
LEAVES = st.none() | st.booleans() | st.floats() | st.integers(-(2**63), 2**63 - 1) | TEXT
DOCUMENTS = st.dictionaries(
    TEXT,
    st.recursive(
        LEAVES,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
        max_leaves=10,
    ),
    max_size=4,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=DOCUMENTS)
def test_a_stored_document_comes_back_equal_and_of_the_same_recipe(
    world: World, document: dict[str, Any]
) -> None:
    kept = storable(document)
    query = select(cast(bindparam("document", kept, JSONB), JSONB))

    with world.transaction() as session:
        read = session.execute(query).scalar_one()

    assert read == kept == storable(kept)
    assert recipe_digest(read, None, ()) == recipe_digest(kept, None, ())


def test_non_finite_numbers_are_kept_as_text_and_never_as_zero_or_null() -> None:
    assert storable({"a": math.nan, "b": [math.inf, -math.inf]}) == {
        "a": "NaN",
        "b": ["Infinity", "-Infinity"],
    }


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"a": {"b": [0, "\0"]}}, "config.a.b.1"),
        ({"a": {"\ud800": 1}}, "config.a"),
        ({"\0": 1}, "config"),
        ({"a": {1: 2}}, "config.a"),
        ({"a": object()}, "config.a"),
        ({"a": 2**63}, "config.a"),
        ({"a": b"bytes"}, "config.a"),
    ],
)
def test_what_cannot_be_stored_is_named_by_its_path(document: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        storable(document, field="config")

    assert caught.value.field == field


def test_a_document_may_be_64_levels_deep_and_no_deeper() -> None:
    def nested(levels: int) -> dict[str, Any]:
        return {} if levels == 1 else {"a": nested(levels - 1)}

    assert storable(nested(64)) == nested(64)
    with pytest.raises(InvalidInput, match="64 levels"):
        storable(nested(66))


@given(st.from_regex(r"[A-Za-z0-9._-]{1,128}", fullmatch=True).filter(lambda key: key not in (".", "..")))
def test_a_key_of_the_alphabet_stays_as_it_is(key: str) -> None:
    assert checked_key(key, field="key") == key


def test_names_lose_surrounding_space_and_tags_their_doubles() -> None:
    assert checked_name("  a name\t", field="name") == "a name"
    assert checked_tags(("b", " b", "a"), field="tags") == ["b", "a"]
