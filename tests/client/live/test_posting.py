"""The client against the real service: what is posted is judged, once."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import truerun
from tests.client.live.heights import EASY, post
from tests.client.live.service import Live
from truerun import NotDelivered

numpy = pytest.importorskip("numpy")


def test_the_celebrated_run_is_caught(live: Live, spool: Path) -> None:
    first = live.run("run-2", name="run 2", seed=1)
    baseline = post(first, "run2")
    assert live.say("promote", "run-2", "--bootstrap", "--reason", "first").code == 0

    verdict = post(live.run("run-6", seed=1), "run6")
    for run in (first, truerun.run):
        run.finish()

    assert baseline.gate == "undecided"
    assert (verdict.gate, verdict.is_open) == ("closed", False)
    assert verdict.baseline is not None
    assert verdict.baseline["run"] == "run-2"
    regressed = {
        check.group for check in verdict.checks if check.rule == "regression" and check.outcome == "regressed"
    }
    assert set(EASY) <= regressed
    worst = next(check for check in verdict.checks if check.group == "k=4,m=2" and check.rule == "regression")
    assert worst.worsening == pytest.approx(2.932, abs=1e-3)
    assert any(aggregate.name == "overall" for aggregate in verdict.aggregates)
    assert "easy" in str(verdict) or any(group in str(verdict) for group in EASY)
    assert list(spool.iterdir()) == []


def test_a_meter_and_numbers_one_already_has_say_the_same(live: Live) -> None:
    generator = numpy.random.default_rng(7)
    errors = generator.normal(0.4, 0.05, 900)
    groups = numpy.array(["short", "mid", "long"])[numpy.arange(900) % 3]
    run = live.run("metered")
    meter = run.evaluation("s", metrics={"my_err": {"direction": "lower", "pooling": "mean"}})
    for start in range(0, 900, 64):
        meter.update("my_err", errors[start : start + 64], groups[start : start + 64])
    meter.state(n=900, overall={"my_err": float(errors.mean())})

    verdict = meter.submit()

    stored = live.request("GET", f"/evaluations/{verdict.evaluation}").json()
    by_group = {value["group"]: value for value in stored["values"]}
    for group in ("short", "mid", "long"):
        part = errors[groups == group]
        assert by_group[group]["n"] == len(part)
        assert by_group[group]["value"] == pytest.approx(part.mean(), rel=1e-12)
        assert by_group[group]["stderr"] == pytest.approx(part.std(ddof=1) / math.sqrt(len(part)), rel=1e-9)
    outcomes = {check.rule: check.outcome for check in verdict.checks}
    assert outcomes["count"] == "pass"
    assert outcomes["overall"] == "pass"


def test_the_same_evaluation_sent_twice_is_one_and_changed_content_is_refused(live: Live) -> None:
    run = live.run("twice")
    verdict = run.log_evaluation("s", {"nrmse": 0.1})
    body: dict[str, Any] = {"suite": "s", "values": [{"metric": "nrmse", "group": "overall", "value": 0.2}]}

    refused = live.request(
        "PUT", f"/runs/{verdict.document['run_id']}/evaluations/{verdict.evaluation}", body
    )

    assert refused.status_code == 409
    listed = live.request("GET", f"/runs/{verdict.document['run_id']}/evaluations").json()["items"]
    assert len(listed) == 1


def test_non_finite_values_are_stored_as_they_are_and_fail(live: Live) -> None:
    verdict = live.run("diverged").log_evaluation(
        "s", {}, {"easy": {"nrmse": math.nan}, "hard": {"nrmse": -math.inf}}
    )

    assert verdict.gate == "closed"
    assert {check.reason for check in verdict.checks if check.outcome == "failed"} >= {"non_finite"}
    stored = live.request("GET", f"/evaluations/{verdict.evaluation}").json()
    assert {value["group"]: value["value"] for value in stored["values"]} == {
        "easy": "NaN",
        "hard": "-Infinity",
    }


def test_an_unknown_metric_is_refused_with_the_line_that_helps(live: Live, spool: Path) -> None:
    run = live.run("unknown-metric")

    with pytest.raises(NotDelivered, match=r'metrics=\{"my_err": "lower"\}'):
        run.log_evaluation("s", {"my_err": 0.1})

    (answer,) = spool.glob("*/rejected/*.answer.json")
    assert json.loads(answer.read_text())["status"] == 422
    assert run.log_evaluation("s", {"my_err": 0.1}, metrics={"my_err": "lower"}).gate == "undecided"


def test_hostile_names_are_stored_or_refused_and_never_break_anything(live: Live) -> None:
    run = live.run("hostile")
    name = 'a|b <script>alert(1)</script> ::error::x `c` "quoted" \u202eevil 数据'
    printable = name.replace("\u202e", "")

    verdict = run.log_evaluation("s", {}, {printable: {"nrmse": 0.1, "n": 50}})

    assert {check.group for check in verdict.checks if check.rule == "regression"} >= {printable}
    with pytest.raises(NotDelivered):
        run.log_evaluation("s", {}, {"overall\x00": {"nrmse": 0.1}})
    with pytest.raises(NotDelivered):
        run.log_evaluation("s", {}, {"tier:easy": {"nrmse": 0.1}})


def test_a_reporter_opens_posts_and_ends_its_run_and_may_not_resume_anothers(live: Live) -> None:
    live.run("first").log_evaluation("s", {"nrmse": 0.1})
    reporter = live.say("token", "create", "--role", "reporter", "--label", "job").out.strip()

    run = live.run("own", token=reporter)
    verdict = run.log_evaluation("s", {"nrmse": 0.1})
    run.config.lr = 3
    run.log_evaluation("s", {"nrmse": 0.2})
    run.finish()

    shown = live.request("GET", f"/runs/{verdict.document['run_id']}").json()
    assert (shown["status"], shown["config"], shown["attempt"]) == ("finished", {"lr": 3}, 1)
    with pytest.raises(NotDelivered, match="only its own token or a maintainer"):
        live.run("first", token=reporter).log_evaluation("s", {"nrmse": 0.1}, timeout=5)
    attached = live.run("first", token=reporter, role="attach").log_evaluation("s", {"nrmse": 0.3})
    assert attached.document["attempt"] == 1


def test_a_run_token_alone_is_enough_to_add_evaluations(live: Live) -> None:
    first = live.run("tokened").log_evaluation("s", {"nrmse": 0.1})
    secret = live.say("token", "create", "--role", "run", "--label", "gpu", "--run", "tokened").out.strip()

    verdict = live.run("tokened", token=secret, role="attach").log_evaluation("s", {"nrmse": 0.2})

    assert verdict.document["run_id"] == first.document["run_id"]
    assert live.say("whoami", "--token", secret).code == 0


def test_a_second_start_of_a_run_is_its_next_attempt(live: Live) -> None:
    first = live.run("resumed", config={"lr": 1})
    one = first.log_evaluation("s", {"nrmse": 0.1}, step=100)
    second = live.run("resumed")
    two = second.log_evaluation("s", {"nrmse": 0.2}, step=50)

    late = first.log_evaluation("s", {"nrmse": 0.05}, step=200)

    assert [verdict.document["attempt"] for verdict in (one, two, late)] == [1, 2, 1]
    listed = live.request("GET", f"/runs/{one.document['run_id']}/evaluations").json()["items"]
    assert [item["evaluation"] for item in listed if item["is_latest"]] == [two.evaluation]
    first.finish("failed")
    assert live.request("GET", f"/runs/{one.document['run_id']}").json()["status"] == "running"
    second.finish()
    assert live.request("GET", f"/runs/{one.document['run_id']}").json()["status"] == "finished"


def test_progress_is_judged_and_never_listed(live: Live) -> None:
    run = live.run("training")

    verdict = run.log_evaluation("s", {"nrmse": 0.1}, step=1, purpose="progress")

    assert verdict.document["purpose"] == "progress"
    assert live.say("leaderboard", "s", "--json").document["items"] == []
    assert live.say("check", "training").code == 2


def test_what_was_recorded_offline_arrives_with_sync(
    live: Live, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = truerun.init("codes", run_key="offline", mode="offline", config={"lr": 1}, seed=3)
    ids = [run.log_evaluation("s", {"nrmse": 0.1 * (i + 1)}).evaluation for i in range(3)]
    run.finish()

    first, second = live.say("sync"), live.say("sync")

    assert (first.code, second.code) == (0, 0)
    assert "3 sent" in first.out
    shown = live.say("show", "offline", "--json").document
    assert [
        item["evaluation"] for item in sorted(shown["evaluations"], key=lambda item: item["evaluation"])
    ] == ids
    assert (shown["status"], shown["seed"], shown["config"]) == ("finished", 3, {"lr": 1})
    assert list(spool.iterdir()) == []


def test_the_script_of_the_readme_works_as_printed(live: Live, tmp_path: Path) -> None:
    readme = (Path(truerun.__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    script = readme.partition("```python mine.py\n")[2].partition("```")[0]

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("undecided - ")
    assert live.say("promote", "first", "--bootstrap", "--project", "quickstart").code == 0
    assert list(tmp_path.glob("*.*")) == []
