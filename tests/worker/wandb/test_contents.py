"""What the three kinds of W&B runs hold."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from app.domain.alerts import drafts_from
from app.domain.assess import AssessmentInput, Champion, assess
from app.domain.evaluations import Evaluation, Loss, Stated
from app.domain.policies import Policy
from app.domain.policy_documents import policy_from_document
from app.domain.stages import Stage
from app.domain.suites import Suite
from app.domain.ttc import Selection
from app.worker.wandb_jobs.board_content import BoardRow, board_job
from app.worker.wandb_jobs.evaluation_content import Judged, evaluation_job
from app.worker.wandb_jobs.job import Job, Table, from_document, to_document
from app.worker.wandb_jobs.training_content import training_job
from app.worker.wandb_jobs.ttc_content import ttc_charts
from app.worker.wandb_jobs.values import MOST_ROWS, Kind
from tests.domain.builders import a_suite, an_evaluation
from tests.worker.wandb.golden import assert_golden

PAGE = "https://truerun.example.org/evaluations/018f"
EVALUATED = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


def a_row(**fields: object) -> BoardRow:
    row = BoardRow(
        suite="heights-val",
        stage="final",
        metric="mse",
        rank=1,
        run="run-6",
        value=0.1,
        gate="open",
        evaluated=EVALUATED,
        page=PAGE,
    )
    return replace(row, **fields)


def judged(candidate: Evaluation, champion: Evaluation, suite: Suite, policy: Policy | None = None) -> Judged:
    verdict = assess(
        AssessmentInput(
            suite=suite,
            candidate=candidate,
            champion=Champion(evaluation=champion, suite=suite),
            policy=policy or Policy(),
        )
    )
    return Judged(
        project="burgers",
        evaluation=candidate,
        suite=suite,
        stage="final",
        wandb_group="run-6",
        verdict=verdict,
        policy_version=3,
        baseline="run-5",
        alerts=drafts_from(verdict, "run-6", suite.key, "final"),
        page=PAGE,
    )


def whole() -> Judged:
    suite = a_suite(
        [
            {"name": "k=4,m=2", "tier": "hard"},
            {"name": "k=1,m=1", "tier": "easy"},
            {"name": "new", "tier": "easy"},
        ],
        {"mse": "lower", "gap": "limit"},
        key="heights-val",
    )
    policy = policy_from_document({"rule": [{"metric": "gap", "max": 5.0, "severity": "fail"}]})
    gap = an_evaluation({"overall": 7.5}, metric="gap").values
    candidate = an_evaluation(
        {"k=4,m=2": 0.405, "k=1,m=1": 0.0947, "new": 0.2},
        values=gap,
        id="018f-candidate",
        step=1200,
        stated=Stated(n=300, overall={"mse": 0.5}),
        loss=Loss(train=0.17, val=0.18),
    )
    found = judged(candidate, an_evaluation({"k=4,m=2": 0.103, "k=1,m=1": 0.1}), suite, policy)
    return replace(
        found,
        entries=(a_row(rank=2, value=0.233, worst=("k=4,m=2", 2.932), gate="closed"),),
        ttc=(
            Selection(step=0, rewards=(0.1, 0.9, 0.5), chosen=1),
            Selection(step=1, rewards=(0.4, 0.2, 0.3), chosen=0),
        ),
        tags=("sweep-3",),
    )


def of(job: Job, name: str) -> Table:
    return next(each for each in job.tables if each.name == name)


def test_an_evaluation_says_all_of_its_verdict() -> None:
    assert_golden("evaluation", evaluation_job(whole(), rev=4))


def test_a_comparison_has_exactly_these_columns_and_the_worst_comes_first() -> None:
    table = of(evaluation_job(whole(), rev=4), "regression/comparison")

    assert table.columns == ("Status", "Metric", "Group", "Baseline", "Current", "Change", "Worsening")
    assert table.rows[0][:6] == ("regressed", "mse", "k=4,m=2", 0.103, 0.405, "293 % worse")
    assert table.rows[0][6] == pytest.approx(2.932, abs=5e-4)


def test_a_change_is_told_in_words_and_as_a_number_with_plus_for_worse() -> None:
    suite = a_suite(("a", "b"))
    job = evaluation_job(
        judged(an_evaluation({"a": 0.112, "b": 0.09}), an_evaluation({"a": 0.1, "b": 0.1}), suite), rev=1
    )

    rows = {row[2]: row for row in of(job, "regression/comparison").rows}

    assert rows["a"][5:] == ("12.0 % worse", pytest.approx(0.12))
    assert rows["b"][5:] == ("10.0 % better", pytest.approx(-0.1))


def test_a_zero_baseline_has_a_reason_and_no_number() -> None:
    job = evaluation_job(judged(an_evaluation({"a": 0.1}), an_evaluation({"a": 0.0}), a_suite(("a",))), rev=1)

    (row,) = [row for row in of(job, "regression/comparison").rows if row[2] == "a"]

    assert row[5:] == ("zero baseline", None)


def test_a_diverged_run_is_strict_json_and_its_column_is_text() -> None:
    suite = a_suite(("a", "b"))
    job = evaluation_job(
        judged(an_evaluation({"a": math.nan, "b": 0.1}), an_evaluation({"a": 0.1, "b": 0.1}), suite), rev=1
    )

    table = of(job, "regression/comparison")

    assert dict(zip(table.columns, table.kinds, strict=True))["Current"] is Kind.TEXT
    assert {row[4] for row in table.rows if row[2] == "a"} == {"NaN"}
    assert "NaN" in {row[2] for row in of(job, "eval_summary/full").rows}
    # Refuses what is not strict.
    assert job.digest


def test_of_many_groups_those_that_need_a_look_are_kept_and_the_total_is_stated() -> None:
    names = [f"g{number:04d}" for number in range(1_500)]
    theirs = dict.fromkeys(names, 0.1)
    ours = {**theirs, "g1499": 0.9}
    job = evaluation_job(judged(an_evaluation(ours), an_evaluation(theirs), a_suite(names)), rev=1)

    table = of(job, "regression/comparison")

    assert (len(table.rows), table.total) == (MOST_ROWS, 1_501)
    assert "g1499" in {row[2] for row in table.rows[:2]}
    assert job.scalars["regression/comparison_total_rows"] == 1_501


def test_a_board_is_shown_whole_with_the_best_five_of_each_metric() -> None:
    rows = [
        *(a_row(rank=rank, run=f"run-{rank}", value=rank / 10) for rank in range(1, 8)),
        a_row(
            rank=None,
            run="run-8",
            value=math.nan,
            eligible=False,
            remark="invalid: wrong data",
            gate="closed",
        ),
        a_row(metric="loss/pde", run="run-1", value=3.0, worst=("a", None), n=100, tags=("x", "y")),
        a_row(group="k=4,m=2", run="run-2", value=0.4),
    ]

    job = board_job(project="burgers", rows=rows, page=PAGE, rev=17)

    assert_golden("board", job)
    assert [row[4] for row in of(job, "leaderboard/top_5_mse").rows] == [1, 2, 3, 4, 5]
    assert of(job, "leaderboard/full_table").total == 10


def test_an_empty_board_is_a_table_without_rows() -> None:
    job = board_job(project="burgers", rows=[], page=PAGE, rev=1)

    assert [each.name for each in job.tables] == ["leaderboard/full_table"]
    assert (of(job, "leaderboard/full_table").rows, job.scalars["leaderboard/rows"]) == ((), 0)


def a_stage(**says: Any) -> Stage:
    return Stage(state="finished", began_at=datetime(2026, 11, 20, tzinfo=UTC), loss_metric="loss", **says)


def test_a_training_is_told_stage_by_stage() -> None:
    job = training_job(
        run="018f-run",
        run_name="run-6",
        wandb_group="run-6",
        stages=[
            a_stage(name="pretrain", final_loss=0.5, best_loss=0.4, epochs=10, seconds=90.0),
            a_stage(name="finetune", final_loss=0.2, best_loss=0.2, epochs=None, seconds=None),
        ],
        configuration={
            "lr": 1e-3,
            "optimizer": {"name": "adam", "betas": [0.9, 0.99]},
            "bad": math.inf,
            "seed": None,
        },
        page=PAGE,
        rev=2,
    )

    assert_golden("training", job)
    assert of(job, "training_summary/stage_comparison").columns == (
        "Stage",
        "Final Loss",
        "Best Loss",
        "Total Epochs",
        "Time (min)",
    )
    assert of(job, "training_summary/configuration").rows[0] == ("bad", "Infinity")


def test_without_test_time_compute_there_is_nothing_of_it() -> None:
    charts = ttc_charts([])

    assert (charts.lines, charts.histograms, charts.bars, charts.scalars) == ((), (), (), {})


@pytest.mark.parametrize(
    "job", [evaluation_job(whole(), rev=4), board_job(project="p", rows=[a_row()], page="", rev=1)]
)
def test_every_job_survives_the_way_to_the_child_and_has_clean_keys(job: Job) -> None:
    assert from_document(to_document(job)) == job
    assert from_document(to_document(job)).digest == job.digest
    keys = [*job.scalars, *(table.name for table in job.tables), *(chart.name for chart in job.bars)]
    assert [key for key in keys if not re.fullmatch(r"[a-z_]+/[A-Za-z0-9_]+", key)] == []
    assert len(keys) == len(set(keys))
    assert all(len(alert.title) <= 63 for alert in job.alerts)
    assert all(len(tag) <= 64 for tag in job.tags)
