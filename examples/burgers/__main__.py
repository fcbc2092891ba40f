"""Train a champion, then a candidate with a better average, and see what the service makes of it.

python -m examples.burgers
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import truerun
from examples.burgers.data import GROUPS, TIERS, Samples
from examples.burgers.train import (
    EPOCH,
    PROJECT,
    SUITE,
    ByGroup,
    Recipe,
    evaluate,
    fit,
    train_set,
    validation_set,
)
from truerun.cli.exits import CommandError
from truerun.cli.main import main as truerun_command
from truerun.cli.service import Service
from truerun.demo.records import ensure_champion, ensure_project, evaluations_of
from truerun.places import LocalServer, local_file, read_local_server
from truerun.settings import find_settings

CHAMPION = "baseline"
CANDIDATE = "shocks-first"
RECIPES = {
    # Of every group as much.
    CHAMPION: Recipe(steps=600),
    # The shocks make up half of the mean error, so somebody gives them most of the samples, and more time.
    CANDIDATE: Recipe(steps=1500, share=(0.02, 0.10, 0.28, 0.60)),
}
WHY = {
    CHAMPION: "every group as often",
    CANDIDATE: "the shocks of nu=0.01 make up half of the mean error, so 60 % of the samples",
}
PROTECTED = TIERS["easy"][0]
KNOWN_SECONDS = 20
POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """What both trainings learn from and are measured on."""

    train: Samples
    validation: Samples


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Train a champion and a candidate, and judge them.")
    parser.add_argument("--steps", type=int, help="of each training, for a quick look")
    parser.add_argument("--samples", type=int, default=256, help="of each group to train on (%(default)s)")
    args = parser.parse_args(arguments)
    service = Service(find_settings(url=None, token=None, mode="online"))
    try:
        return _show(service, steps=args.steps, samples=args.samples)
    except CommandError as error:
        sys.stderr.write(f"burgers: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        service.close()


def _show(service: Service, *, steps: int | None, samples: int) -> int:
    ensure_project(service, PROJECT, "Burgers' equation")
    policy = Path(__file__).with_name("policy.toml").read_bytes()
    if not _trained(service, CANDIDATE):
        service.upload("PUT", f"/projects/{PROJECT}/policy", policy, "application/toml")
        data = _data(samples)
        _say_how_to_look(service)
        for key, recipe in RECIPES.items():
            if _trained(service, key):
                _say(f"\nRun {key} is there from last time.")
            else:
                _train(service, key, recipe if steps is None else replace(recipe, steps=steps), data)
            if key == CHAMPION:
                first = evaluations_of(service, PROJECT, SUITE, CHAMPION)[0]
                ensure_champion(service, PROJECT, SUITE, first["evaluation"], "the first surrogate")
                _say("  It is the first champion now, as `truerun promote --bootstrap` makes one.")
    else:
        _say("Both surrogates are still there from last time; nothing was trained.")
    command = ["check", CANDIDATE, "--project", PROJECT]
    _say(f"\n$ truerun {' '.join(command)}")
    code = truerun_command(command)
    # 1 and 2 are gates that are not open, and a gate is what is to be shown.
    if code not in (0, 1, 2):
        return code
    _conclude(service)
    return 0


def _data(samples: int) -> Data:
    began = time.monotonic()
    data = Data(train=train_set(samples), validation=validation_set())
    _say(
        "Burgers' equation u_t + u u_x = ν u_xx: a neural operator learns to jump one time unit ahead.\n"
        f"{len(data.train):,} waves to train on and {len(data.validation)} to validate, in {len(GROUPS)} groups by "
        f"viscosity, solved in {time.monotonic() - began:.1f} s."
    )
    return data


def _say_how_to_look(service: Service) -> None:
    """Tell where the token for the addresses below is; never the token itself."""
    path = local_file(os.environ)
    local = read_local_server(path)
    if isinstance(local, LocalServer) and local.token == service.settings.token:
        read = f"import json; print(json.load(open('{path}'))['tokens']['admin'])"
        _say(f'In another terminal: TOKEN=$(python3 -c "{read}")')


def _train(service: Service, key: str, recipe: Recipe, data: Data) -> None:
    """Train and post one run, telling how it goes.

    Raises:
        CommandError: The service did not take the run, or did not judge its evaluation.
    """
    _say(f"\nRun {key}: {recipe.steps:,} steps, {WHY[key]}.")
    began = time.monotonic()
    with truerun.init(
        project=PROJECT,
        name=key.replace("-", " "),
        run_key=key,
        config=asdict(recipe),
        seed=recipe.seed,
        url=service.settings.url,
        token=service.settings.token,
    ) as run:
        _say(f"  {_curl(service, f'/runs/{_run_id(service, key)}/live?metric=loss', '-N ')}")
        _say(f"  {'step':>6}{'loss':>10}{'mean rel_l2':>14}{''.join(f'{name:>10}' for name in GROUPS)}")
        model, step = fit(run, recipe, data.train, data.validation, _Table(recipe.steps))
        verdict = evaluate(run, recipe, model, data.train, data.validation, step=step)
    if verdict.gate in ("unknown", "rejected"):
        raise CommandError(f"run {key} was not judged: {verdict}")
    _say(f"  {time.monotonic() - began:.1f} s, posted and judged: {verdict.gate}.")


class _Table:
    """Prints a line of relative errors three times in a training."""

    def __init__(self, steps: int) -> None:
        self._every = max(EPOCH, steps // 3 // EPOCH * EPOCH)
        self._steps = steps

    def __call__(self, step: int, loss: float, groups: ByGroup) -> None:
        if step % self._every and step != self._steps:
            return
        errors = [groups[name]["rel_l2"] for name in GROUPS]
        columns = "".join(f"{error:>10.4f}" for error in errors)
        _say(f"  {step:>6,}{loss:>10.4f}{sum(errors) / len(errors):>14.4f}{columns}")


def _conclude(service: Service) -> None:
    """Say what the average hid, and where to look further."""
    found = {key: evaluations_of(service, PROJECT, SUITE, key)[0] for key in (CHAMPION, CANDIDATE)}
    verdict = service.get(f"/evaluations/{found[CANDIDATE]['evaluation']}")
    mean = next(
        each for each in verdict["aggregates"] if each["metric"] == "rel_l2" and each["name"] == "macro"
    )
    easy = next(
        each
        for each in verdict["checks"]
        if (each["rule"], each["metric"], each["group"]) == ("regression", "rel_l2", PROTECTED)
    )
    _say(
        f"\nThe mean error went {_from_to(mean['baseline'], mean['value'])}; in {PROTECTED} it went "
        f"{_from_to(easy['baseline'], easy['candidate'])}. The gate is {verdict['gate']}."
    )
    run = f"/runs/{_run_id(service, CANDIDATE)}"
    looks = (
        f"{run}/history?metric=rel_l2&group={PROTECTED}&format=csv",
        f"/projects/{PROJECT}/runs?sort=min:loss&metric=loss",
    )
    _say("\n".join(_curl(service, path) for path in looks))


def _from_to(before: Any, after: Any) -> str:
    # What is not finite travels as text.
    return f"from {float(before):.4f} to {float(after):.4f}"


def _curl(service: Service, path: str, options: str = "") -> str:
    return f'curl {options}-H "Authorization: Bearer $TOKEN" "{service.settings.url}/api/v1{path}"'


def _trained(service: Service, key: str) -> bool:
    return bool(evaluations_of(service, PROJECT, SUITE, key))


def _run_id(service: Service, key: str) -> str:
    """The service's id of a run, once its client has spoken.

    Raises:
        CommandError: It did not speak in time.
    """
    deadline = time.monotonic() + KNOWN_SECONDS
    while True:
        runs: list[dict[str, Any]] = service.items(f"/projects/{PROJECT}/runs", {"key": key}, limit=1)
        if runs:
            return str(runs[0]["run_id"])
        if time.monotonic() > deadline:
            raise CommandError(f"run {key} did not reach the service within {KNOWN_SECONDS} s")
        time.sleep(POLL_SECONDS)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
