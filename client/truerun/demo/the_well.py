"""Project `the-well`: four surrogate models on 17 PDE datasets, as their benchmark states them."""

from __future__ import annotations

from typing import Any

from truerun.cli.service import Service
from truerun.demo.records import ensure_champion, ensure_project, evaluations_of, post, rows_of

PROJECT = "the-well"
SUITE = "the-well-test"
CHAMPION, CANDIDATE = "fno", "cnextu-net"
_MODELS = ("FNO", "TFNO", "U-net", "CNextU-net")


def load(service: Service) -> bool:
    """Post all four, with FNO as the first champion; what is already there is not repeated.

    Returns:
        Whether anything had to be loaded.
    """
    if evaluations_of(service, PROJECT, SUITE, CANDIDATE):
        return False
    ensure_project(service, PROJECT, "The Well")
    rows = rows_of("the_well.csv")
    groups = [{"name": name} for name in dict.fromkeys(row["dataset"] for row in rows)]
    for model in _MODELS:
        values = [
            {
                "metric": "vrmse",
                "group": row["dataset"],
                "value": float(row["value"]),
                "bound": "at_least" if row["status"] == "right_censored" else "exact",
            }
            for row in rows
            if row["model"] == model and row["status"] != "missing"
        ]
        verdict = post(
            service,
            PROJECT,
            model.lower(),
            suite=SUITE,
            values=values,
            metrics={"vrmse": "lower"},
            about={"groups": groups, "dataset": "the-well", "split": "test"},
            name=model,
            config={"model": model},
        )
        if model.lower() == CHAMPION:
            ensure_champion(service, PROJECT, SUITE, verdict["evaluation"], "the benchmark's first model")
    return True


def line(service: Service) -> str:
    """What the mean says of CNextU-net, and what it hides."""
    verdict = _verdict(service)
    macro = next(each for each in verdict["aggregates"] if each["name"] == "macro")
    masked = next(each for each in verdict["checks"] if each["rule"] == "masked")
    hidden = masked["detail"]["groups"]
    return (
        f"CNextU-net improves the mean VRMSE of FNO from {macro['baseline']:.4f} to {macro['value']:.4f} over "
        f"{macro['groups_used']} of {macro['groups_total']} datasets. The gate is {verdict['gate']}: {len(hidden)} "
        f"are more than 10 % worse ({', '.join(hidden)})."
    )


def _verdict(service: Service) -> dict[str, Any]:
    evaluation = evaluations_of(service, PROJECT, SUITE, CANDIDATE)[0]["evaluation"]
    return service.get(f"/evaluations/{evaluation}")
