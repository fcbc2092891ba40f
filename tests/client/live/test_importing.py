"""Past runs of other trackers, brought over the ordinary protocol into the real service."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.client.importing.trackers import DATA, KEY, Answer, Mlflow, Wandb, serving
from tests.client.live.golden import golden
from tests.client.live.service import Live
from truerun.cli.importing import bring
from truerun.cli.output import Output
from truerun.importing import Importer
from truerun.importing.origin import Origin
from truerun.importing.wandb import WandbProject
from truerun.transport import Transport


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wandb]:
    tracker = Wandb()
    with serving(tracker):
        monkeypatch.setenv("WANDB_BASE_URL", tracker.url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        yield tracker


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mlflow]:
    tracker = Mlflow()
    with serving(tracker):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", tracker.url)
        yield tracker


def sql(live: Live, query: str, *values: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(live.database_url.replace("+psycopg", "")) as connection:
        return connection.execute(query, values or None).fetchall()


def points(live: Live, key: str, metric: str) -> list[tuple[int, float]]:
    """(step, value) of what a chart shows."""
    query = "SELECT step, value FROM metric_point WHERE run LIKE %s AND metric = %s AND counts ORDER BY attempt, step"
    return sql(live, query, f"{key}%", metric)


def everything(live: Live) -> list[list[tuple[Any, ...]]]:
    """All that an import writes, but for tokens and the audit trail."""
    return [
        sql(
            live,
            "SELECT key, name, status, config::text, summary::text, newest_attempt FROM run ORDER BY key",
        ),
        sql(live, "SELECT id, next_idx, stored, rejected, gaps, logged FROM stream ORDER BY id"),
        sql(
            live,
            "SELECT run, attempt, metric, step, at, value::text FROM metric_point ORDER BY 1, 2, 3, 4, 6",
        ),
    ]


def test_event_files_show_what_tensorboard_shows(live: Live) -> None:
    said = live.say("import", "tensorboard", str(DATA / "tensorboard"), "--as", "logs", "--json")

    assert said.code == 0
    # TensorBoard 2.21 shows these for lr-0.1: what came before the session that purged from step 5 on, then that.
    loss = [(s, pytest.approx(1 / (s + 1))) for s in range(5)] + [(s, 10 + s) for s in range(5, 9)]
    assert points(live, "tensorboard.logs.lr-0.1.", "loss") == loss
    # And for lr-1 both, one over the other: the file that came later wins.
    later = [(s, float(s)) for s in range(3)] + [(s, 100.0 + s) for s in range(3, 7)]
    assert points(live, "tensorboard.logs.lr-1.", "loss") == later
    assert points(live, "tensorboard.logs.tf2.", "accuracy") == [(0, 0.0), (10, 0.25), (20, 0.5), (30, 0.75)]
    assert said.document["left_out"] == {"histogram": 1, "media": 1, "text": 1}
    left_behind = sql(
        live, "SELECT value FROM metric_point WHERE metric = 'loss' AND NOT counts AND step IN (8, 9)"
    )
    assert sorted(map(str, (value for (value,) in left_behind))) == ["inf", "nan"]
    configs = sql(live, "SELECT config FROM run WHERE key LIKE 'tensorboard.logs.lr-0.1-hp.%'")
    assert configs == [({"lr": 0.1, "width": 64, "schedule": "cosine", "amp": True},)]
    assert sql(live, "SELECT DISTINCT status FROM run") == [("finished",)]


def test_the_same_import_again_changes_nothing(
    live: Live, wandb: Wandb, mlflow: Mlflow, tmp_path: Path
) -> None:
    wandb.add_recorded()
    sheet = tmp_path / "sheet.csv"
    sheet.write_text("step,loss\n0,1.5\n1,nan\n")
    commands = [
        ("import", "wandb", "pde/burgers"),
        ("import", "mlflow"),
        ("import", "tensorboard", str(DATA / "tensorboard")),
        ("import", "csv", str(sheet)),
    ]
    first = [live.say(*command, "--json").document for command in commands]
    before = everything(live)
    live.request("PATCH", f"/runs/{first[0]['runs'][0]['run_id']}", {"name": "the good one"})
    pages = [asked for asked in wandb.asked if "HistoryPage" in asked.body["query"]]

    again = [live.say(*command, "--json").document for command in commands]

    states = [[run["state"] for run in document["runs"]] for document in again]
    assert states == [["known"], ["known", "known", "unfinished"], ["known"] * 4, ["known"]]
    assert all(run["points"] == 0 for document in again for run in document["runs"])
    # A name that somebody gave it here stays; what is here as a whole is not read again.
    assert sql(live, "SELECT name FROM run WHERE key LIKE 'wandb.%'") == [("the good one",)]
    assert [asked for asked in wandb.asked if "HistoryPage" in asked.body["query"]] == pages
    after = everything(live)
    assert after[1:] == before[1:]
    assert sum(run["points"] for document in first for run in document["runs"]) == len(after[2])


def test_a_run_of_wandb_keeps_its_step_metrics(live: Live, wandb: Wandb) -> None:
    wandb.add_recorded()

    said = live.say("import", "wandb", "pde/burgers", "--tag", "past", "--json")

    key = "wandb.pde.burgers.3kq8x1za"
    # define_metric("val/*", step_metric="epoch") and define_metric("eval/nrmse", step_metric="eval_step").
    assert points(live, key, "val/nrmse") == [(1, 0.1), (2, 0.05), (3, 0.5 / 15), (4, 0.025)]
    assert points(live, key, "eval/nrmse") == [(500, 0.06), (1000, 0.03), (1500, 0.02), (2000, 0.015)]
    assert [step for step, _ in points(live, key, "epoch")] == [5, 12, 19, 26]
    assert [step for step, _ in points(live, key, "loss")][:6] == [0, 1, 2, 3, 4, 7]
    assert len(points(live, key, "opt.momentum")) == 20
    assert [value for _, value in points(live, key, "diverged")] == [math.inf] * 4
    assert [value for _, value in points(live, key, "neg")] == [-math.inf] * 4
    assert all(math.isnan(value) for _, value in points(live, key, "val/gap"))
    times = sql(live, "SELECT min(extract(epoch FROM at)) FROM metric_point WHERE metric = 'loss'")
    assert float(times[0][0]) == pytest.approx(1.7952516252505715e09, abs=0.001)
    ((name, config, tags, group, seed, commit, summary, status),) = sql(
        live, "SELECT name, config, tags, run_group, seed, git_commit, summary, status FROM run"
    )
    assert (name, group, seed, status) == ("unet-64", "width-sweep", 42, "finished")
    assert config == {"lr": 0.001, "width": 64, "seed": 42, "model": {"depth": 4}}
    assert (sorted(tags), commit[:8]) == (["baseline", "past"], "01234567")
    assert (summary["loss"], summary["val/gap"]) == (0.05, "NaN")
    assert "_step" not in summary
    assert said.document["left_out"] == {"file": 4, "histogram": 1, "system_metric": 2, "table": 1, "text": 1}
    assert KEY not in json.dumps(sql(live, "SELECT environment FROM run"))


def test_a_run_of_mlflow_has_its_rows_as_they_were_logged(live: Live, mlflow: Mlflow) -> None:
    said = live.say("import", "mlflow", "--experiment", "burgers", "--json")

    key = "mlflow.08985e046c6e463ca3b04695abfd2c90"
    loss = points(live, key, "loss")
    assert loss[:5] == [(10 * s, 1 / (s + 1)) for s in range(5)]
    # On SQL MLflow keeps infinity as the largest double.
    assert str(loss[5:]) == "[(50, nan), (51, inf)]"
    assert said.document["runs"][0]["records"] == 8
    found = sql(live, "SELECT config, tags, notes, status FROM run WHERE key = %s", key)
    config = {"lr": 0.001, "width": 64, "seed": 42, "schedule": "cosine"}
    assert found == [(config, ["team=pde"], "first try", "finished")]
    assert [run["state"] for run in said.document["runs"]] == ["new", "new", "unfinished"]
    assert sql(live, "SELECT status FROM run WHERE name = 'crashed'") == [("failed",)]
    assert said.document["left_out"] == {"artifact": 1, "unfinished": 1}


def test_an_import_that_is_killed_goes_on_where_it_stopped(live: Live, wandb: Wandb) -> None:
    wide = [
        {"_step": s, "_timestamp": 1.7e9 + s, **{f"m{i}": s + i for i in range(120)}} for s in range(3000)
    ]
    wandb.add("wide", wide)
    reached, going_on = threading.Event(), threading.Event()

    def hold(step: int) -> None:
        if step >= 2000:
            reached.set()
            going_on.wait(60)

    wandb.before_page = hold
    command = [sys.executable, "-m", "truerun", "import", "wandb", "pde/burgers"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        assert reached.wait(60), "it never came to the third page"
        process.send_signal(signal.SIGKILL)
    going_on.set()
    (stored,) = sql(live, "SELECT sum(stored) FROM stream")[0]
    assert 0 < stored < 3000

    said = live.say("import", "wandb", "pde/burgers", "--json")

    (run,) = said.document["runs"]
    assert (run["state"], run["records"]) == ("continued", 3000 - stored)
    assert points(live, "wandb.pde.burgers.wide", "m7") == [(s, s + 7) for s in range(3000)]
    assert sql(live, "SELECT count(*) FROM metric_point") == [(3000 * 120,)]
    books = sql(live, "SELECT next_idx, stored, rejected, gaps, logged FROM stream ORDER BY logged")
    assert books == [(2, 2, 0, 0, 2), (3000, 3000, 0, 0, 3000)]
    assert sql(live, "SELECT status, newest_attempt FROM run") == [("finished", 1)]


def test_a_source_that_has_grown_is_continued(live: Live, tmp_path: Path) -> None:
    sheet = tmp_path / "burgers.csv"
    sheet.write_text("step,loss\n0,3\n1,2\n")
    assert live.say("import", "csv", str(sheet)).code == 0
    sheet.write_text("step,loss\n0,3\n1,2\n2,1\n")

    said = live.say("import", "csv", str(sheet), "--json")

    (run,) = said.document["runs"]
    assert (run["state"], run["points"]) == ("continued", 1)
    assert points(live, "csv.burgers.", "loss") == [(0, 3.0), (1, 2.0), (2, 1.0)]


def test_a_source_that_is_gone_midway_ends_with_3_and_goes_on_with_the_same_command(
    live: Live, wandb: Wandb, capsys: pytest.CaptureFixture[str]
) -> None:
    wandb.add("a", [{"_step": 0, "loss": 1.0}])
    wandb.add("b", [{"_step": 0, "loss": 2.0}], createdAt="2026-11-20T08:00:01Z")
    wandb.before_page = lambda _step: wandb.troubles.extend([Answer({}, 500)] * 10)
    pauses: list[float] = []
    source = WandbProject(Origin(wandb.url, user=("api", KEY), pause=pauses.append), "pde", "burgers")
    transport = Transport(live.url, live.token)
    try:
        code = bring(source, Importer(transport, "codes"), Output(as_json=False))
    finally:
        source.close()
        transport.close()
    stopped = capsys.readouterr()
    wandb.before_page = lambda _step: None
    wandb.troubles.clear()

    again = live.say("import", "wandb", "pde/burgers")

    assert (code, len(pauses), again.code) == (3, 9, 0)
    assert "answered 500" in stopped.err
    assert "goes on where it stopped" in stopped.err
    assert points(live, "wandb.pde.burgers.a", "loss") == [(0, 1.0)]
    assert points(live, "wandb.pde.burgers.b", "loss") == [(0, 2.0)]


def test_a_key_that_is_taken_by_another_run_is_refused_and_the_rest_is_brought(
    live: Live, wandb: Wandb
) -> None:
    live.run("wandb.pde.burgers.a").finish()
    wandb.add("a", [{"_step": 0, "loss": 1.0}])
    wandb.add("b", [{"_step": 0, "loss": 2.0}], createdAt="2026-11-20T08:00:01Z")

    said = live.say("import", "wandb", "pde/burgers")

    assert said.code == 1
    assert "refused: a run that was not imported from there has the key" in said.out
    assert points(live, "wandb.pde.burgers.b", "loss") == [(0, 2.0)]
    assert points(live, "wandb.pde.burgers.a", "loss") == []


def test_the_report_names_what_could_not_be_brought(live: Live, wandb: Wandb, tmp_path: Path) -> None:
    wandb.add_recorded()
    wandb.add("still-going", [{"_step": 0, "loss": 1.0}], state="running", createdAt="2026-11-22T08:00:00Z")
    wandb.add(
        "strange",
        [{"_step": 0, "x" * 257: 1.0, "bad\nname": 2.0, "list": [1, 2], "loss": 1.0}],
        createdAt="2026-11-23T08:00:00Z",
        historyLineCount=3,
    )
    sheet = tmp_path / "runs.csv"
    sheet.write_text("run,step,loss\na,0,1\na,one,2\nb,0,three\nb,1,4\nb,2\n")

    golden("import-wandb.txt", live.say("import", "wandb", "pde/burgers").out)
    golden("import-csv.txt", live.say("import", "csv", str(sheet), "--run-column", "run").out)


def test_a_dry_run_sends_nothing(live: Live, wandb: Wandb) -> None:
    wandb.add_recorded()

    said = live.say("import", "wandb", "pde/burgers", "--dry-run", "--json")

    (run,) = said.document["runs"]
    assert (run["state"], run["records"], run["points"]) == ("would bring", 37, 89)
    assert sql(live, "SELECT count(*) FROM run") == [(0,)]


def test_a_wrong_credential_or_name_ends_with_64(
    live: Live, wandb: Wandb, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert live.say("import", "wandb", "pde/other").code == 64
    assert live.say("import", "wandb", "pde").code == 64
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    refused = live.say("import", "wandb", "pde/burgers")
    assert (refused.code, "does not accept the credential" in refused.err) == (64, True)
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login user password {KEY}\n")
    (tmp_path / "netrc").chmod(0o600)
    assert live.say("import", "wandb", "pde/burgers").code == 0
    assert live.say("import", "tensorboard", str(tmp_path)).code == 64
    assert live.say("import", "csv", str(tmp_path / "nowhere.csv")).code == 64
