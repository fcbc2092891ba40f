"""Seventeen PDE datasets as groups of a metric that does not pool; known answers on real, partly censored numbers."""

from __future__ import annotations

import pytest

from app.domain.assess import board_values
from app.domain.evaluations import Bound, Evaluation, Position, Value
from app.domain.metrics import resolve_metric
from app.domain.outcomes import Gate, Outcome, Rule, Verdict
from app.domain.ranking import sort_position
from app.domain.suites import Suite
from tests.domain.builders import a_suite, a_verdict, check_of, column, finding
from tests.domain.vector_files import rows_of


def the_well() -> Suite:
    datasets = dict.fromkeys(row["dataset"] for row in rows_of("the_well_test_vrmse.csv"))
    return a_suite(tuple(datasets), {"vrmse": None}, key="the-well")


def a_model(name: str) -> Evaluation:
    values = tuple(
        Value(
            metric="vrmse",
            group=row["dataset"],
            value=float(row["value"]),
            bound=Bound.AT_LEAST if row["status"] == "right_censored" else Bound.EXACT,
        )
        for row in rows_of("the_well_test_vrmse.csv")
        if row["model"] == name and row["status"] != "missing"
    )
    return Evaluation(
        id=name, run=name, position=Position(attempt=1, step=None, evaluation=name), values=values
    )


def against_fno(name: str) -> Verdict:
    return a_verdict(a_model(name), a_model("FNO"), suite=the_well())


def regressed_in(verdict: Verdict) -> set[str | None]:
    return {c.group for c in verdict.checks if c.rule is Rule.REGRESSION and c.outcome is Outcome.REGRESSED}


def test_cnextu_net_improves_the_mean_and_hides_five_datasets() -> None:
    verdict = against_fno("CNextU-net")

    macro = column(verdict, "macro", metric="vrmse")
    assert (round(macro.baseline or 0, 4), round(macro.value or 0, 4)) == (0.3565, 0.2203)
    assert (macro.groups_used, macro.groups_total) == (15, 17)
    assert macro.left_out == {
        "post_neutron_star_merger": "missing_group",
        "rayleigh_taylor_instability": "censored",
    }
    hidden = {
        "helmholtz_staircase",
        "convective_envelope_rsg",
        "planetswe",
        "shear_flow",
        "gray_scott_reaction_diffusion",
    }
    assert regressed_in(verdict) == hidden
    masked = finding(verdict, Rule.MASKED)
    assert masked is not None
    assert masked.detail["groups"] == sorted(hidden)
    assert masked.detail["aggregates"] == ["macro"]


def test_tfno_hides_three_of_sixteen() -> None:
    assert len(regressed_in(against_fno("TFNO"))) == 3


def test_two_bounds_of_ten_are_never_compared_as_ten() -> None:
    check = check_of(against_fno("CNextU-net"), "rayleigh_taylor_instability", metric="vrmse")

    assert (check.outcome, check.reason) == (Outcome.NOT_EVALUATED, "censored")


def test_a_dataset_that_the_candidate_did_not_finish_fails() -> None:
    verdict = against_fno("U-net")

    check = check_of(verdict, "post_neutron_star_merger", metric="vrmse")
    assert (check.outcome, check.reason) == (Outcome.FAILED, "missing_group")
    assert verdict.gate is Gate.CLOSED


def test_there_is_no_overall_check_where_none_is_stated() -> None:
    assert not [check for check in against_fno("TFNO").checks if check.group == "overall"]


@pytest.mark.parametrize("model", ["FNO", "CNextU-net"])
def test_a_mean_that_leaves_datasets_out_ranks_behind_exact_ones(model: str) -> None:
    (macro,) = (value for value in board_values(the_well(), a_model(model)) if value.group == "macro")

    assert macro.bound is Bound.AT_LEAST
    assert sort_position(resolve_metric("vrmse", None), macro.value, macro.bound)[0] == 1
