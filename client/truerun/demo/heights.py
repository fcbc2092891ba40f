"""Project `heights`: two real runs of team B, posted as their own report states them."""

from __future__ import annotations

from dataclasses import dataclass

import truerun
from truerun.cli.service import Service
from truerun.demo import mirror
from truerun.demo.records import ensure_champion, ensure_project, evaluations_of, lines_of, rows_of

PROJECT = "heights"
SUITE = "heights-val"
METRIC = "log2_mse"
CHAMPION, CANDIDATE = "run-2", "run-6"

# What run 6's report states of the whole; its group counts add to 374,400.
STATED_N, STATED_OVERALL, STATED_TRAIN = 421_200, 0.181483, 0.177264
WHY_BOOTSTRAP = "best run so far; it misses the target for the overall, which no run has reached yet"


@dataclass(frozen=True)
class GroupResult:
    """One group's validation result: log2-MSE (lower is better) over n rows."""

    group: str
    tier: str
    value: float
    n: int


def results(run: str) -> list[GroupResult]:
    """The nine groups of `run-2` or `run-6`."""
    column = run.replace("-", "")
    return [
        GroupResult(row["group"], row["tier"], float(row[f"{column}_log2_mse"]), int(row[f"{column}_n"]))
        for row in rows_of("heights.csv")
    ]


def load(service: Service) -> bool:
    """Bring the project to where run 6 has been judged; what is already there is not repeated.

    Returns:
        Whether anything had to be loaded.
    """
    if evaluations_of(service, PROJECT, SUITE, CANDIDATE):
        mirror.enable(service, PROJECT)
        return False
    ensure_project(service, PROJECT, "Height prediction")
    policy = "\n".join(lines_of("heights.toml", comments=True)).encode()
    service.upload("PUT", f"/projects/{PROJECT}/policy", policy, "application/toml")
    if not evaluations_of(service, PROJECT, SUITE, CHAMPION):
        _post(service, CHAMPION)
    champion = evaluations_of(service, PROJECT, SUITE, CHAMPION)[0]["evaluation"]
    ensure_champion(service, PROJECT, SUITE, champion, WHY_BOOTSTRAP)
    # Only what happens from then on is mirrored: run 6's verdict, its alerts, and the board with it.
    mirror.enable(service, PROJECT)
    _post(service, CANDIDATE)
    return True


def _post(service: Service, key: str) -> None:
    """Post one run through the client, as a training script would."""
    settings = service.settings
    run = truerun.init(
        project=PROJECT,
        name=key.replace("-", " "),
        run_key=key,
        url=settings.url,
        token=settings.token,
        strict=True,
    )
    rows = results(key)
    tiers: dict[str, list[str]] = {}
    for row in rows:
        tiers.setdefault(row.tier, []).append(row.group)
    is_candidate = key == CANDIDATE
    verdict = run.log_evaluation(
        SUITE,
        {},
        groups={row.group: {METRIC: row.value, "n": row.n} for row in rows},
        stated={"n": STATED_N, "overall": {METRIC: STATED_OVERALL}} if is_candidate else None,
        loss={"train": STATED_TRAIN, "val": STATED_OVERALL} if is_candidate else None,
        metrics={METRIC: "lower"},
        tiers=tiers,
        dataset="heights",
        split="val",
        timeout=60,
    )
    run.finish()
    if verdict.gate in ("unknown", "rejected"):
        raise RuntimeError(f"{key} was not judged: {verdict}")
