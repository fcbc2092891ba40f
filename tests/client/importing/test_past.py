from __future__ import annotations

import re

import pytest

from truerun.importing.past import key_of


def test_a_plain_identity_is_the_key() -> None:
    identity = ("wandb", "my-team", "burgers", "3kq8x1za")

    assert key_of(identity, identity) == "wandb.my-team.burgers.3kq8x1za"


@pytest.mark.parametrize(
    "identities",
    [
        [("wandb", "a.b", "c", "d"), ("wandb", "a", "b.c", "d"), ("wandb", "a", "b", "c.d")],
        [("csv", "a b"), ("csv", "a-b"), ("csv", "a/b")],
        [("csv", "x" * 200 + "1"), ("csv", "x" * 200 + "2")],
        [("csv", "损失"), ("csv", "")],
    ],
    ids=["dots", "foreign", "long", "nothing left"],
)
def test_different_runs_never_share_a_key(identities: list[tuple[str, ...]]) -> None:
    keys = [key_of(identity, identity) for identity in identities]

    assert len(set(keys)) == len(identities)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]{1,128}", key) for key in keys)
