from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from tests.api.calling import Caller
from tests.api.recording import opened, others, points, send

pytestmark = pytest.mark.usefixtures("burgers")


def choice(step: Any, rewards: Any, chosen: Any) -> dict[str, Any]:
    return {"type": "ttc", "step": step, "rewards": rewards, "chosen": chosen}


def stage_mark(kind: str, name: str, **says: Any) -> dict[str, Any]:
    return {"type": "event", "kind": kind, "level": "info", "title": name, "detail": {"stage": name, **says}}


def test_what_was_chosen_comes_back_as_charts(admin: Caller) -> None:
    run_id, _ = opened(admin)
    send(admin, run_id, others(0, choice(0, [1.0, 2.0], 1), choice(1, ["NaN", 3.0, 5.0], 2)))

    drawn = admin.get(f"/runs/{run_id}/ttc")

    assert (drawn["count"], drawn["steps"], drawn["chosen"], drawn["mean"]) == (
        2,
        [0, 1],
        [2.0, 5.0],
        [1.5, 4.0],
    )
    assert drawn["improvement"] == [0.0, 1.5]
    assert drawn["frequency"] == [0.0, 0.5, 0.5]
    assert sum(drawn["histogram"]["counts"]) == 4


def test_a_choice_that_is_none_is_rejected_alone(admin: Caller) -> None:
    run_id, _ = opened(admin)
    bad = [
        choice(0, [1.0], 1),
        choice(0, [1.0], -1),
        choice(0, [], 0),
        choice(0, [1.0] * 4097, 0),
        choice(0, ["high"], 0),
        choice(0, [10**400], 0),
        choice(None, [1.0], 0),
        choice(2**70, [1.0], 0),
        choice(0, {"a": 1.0}, 0),
    ]

    answer = send(admin, run_id, others(0, *bad, choice(7, ["-Infinity"], 0)))

    assert [each["idx"] for each in answer["rejected"]] == list(range(len(bad)))
    assert {each["code"] for each in answer["rejected"]} == {"bad_record"}
    drawn = admin.get(f"/runs/{run_id}/ttc")
    assert (drawn["steps"], drawn["chosen"], drawn["mean"]) == ([7], ["-Infinity"], ["NaN"])


def test_the_branch_that_was_left_is_not_drawn(admin: Caller) -> None:
    run_id, first = opened(admin)
    send(
        admin,
        run_id,
        {**others(0, *(choice(step, [1.0], 0) for step in range(4))), "attempt_id": first},
    )
    _, second = opened(admin, resume_step=2)
    batch = others(0, choice(2, [7.0], 0), choice(2, [8.0], 0))
    send(admin, run_id, {**batch, "attempt_id": second}, stream=uuid4())

    drawn = admin.get(f"/runs/{run_id}/ttc")

    # Of two records of one step the later one counts.
    assert (drawn["count"], drawn["steps"], drawn["chosen"]) == (6, [0, 1, 2], [1.0, 1.0, 8.0])


def test_stages_are_told_with_what_was_logged_in_them(admin: Caller) -> None:
    run_id, _ = opened(admin)
    batch = points(loss=[3.0, 1.0, 2.0], epoch=[1, 2, 3])
    batch["blocks"][0]["stage"] = "operator"
    send(admin, run_id, batch)
    val = points(3, loss=[9.0])
    val["blocks"][0] |= {"stage": "operator", "split": "val"}
    send(admin, run_id, val)
    send(
        admin,
        run_id,
        others(
            4,
            stage_mark("stage_began", "operator"),
            stage_mark("stage_ended", "operator", seconds=61.5, failed=False),
            stage_mark("stage_began", "refine"),
        ),
    )

    operator, refine = admin.get(f"/runs/{run_id}/stages")["items"]

    assert (operator["stage"], operator["state"], operator["seconds"]) == ("operator", "finished", 61.5)
    assert (operator["final_loss"], operator["best_loss"], operator["epochs"]) == (2.0, 1.0, 3.0)
    assert (refine["stage"], refine["state"], refine["final_loss"]) == ("refine", "running", None)
