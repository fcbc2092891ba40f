"""Train one surrogate of Burgers' equation, log it while it trains, and have its result judged.

    python -m examples.burgers.train --steps 600
    python -m examples.burgers.train --steps 1500 --share 0.02 0.10 0.28 0.60

Address and token come from TRUERUN_URL and TRUERUN_TOKEN, or from the service that runs on this machine.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

import truerun
from examples.burgers import physics
from examples.burgers.data import CELLS, FINE, GROUPS, HORIZON, TIERS, Samples, make
from examples.burgers.equation import Fields
from examples.burgers.model import Surrogate

PROJECT = "burgers-1d"
SUITE = "burgers-1d-val"
EPOCH = 50

ByGroup = Mapping[str, Mapping[str, float]]
Report = Callable[[int, float, ByGroup], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a surrogate is trained.

    Args:
        share: Of the training samples, by group in the order of GROUPS; need not add up to 1.
        mass_weight: Of the mass gap in the loss, beside the relative error.
    """

    steps: int
    share: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    learning_rate: float = 6e-3
    batch: int = 32
    mass_weight: float = 0.1
    seed: int = 42


def train_set(per_group: int = 256) -> Samples:
    return make(per_group=per_group, seed=1)


def validation_set(per_group: int = 64) -> Samples:
    return make(per_group=per_group, seed=2)


def fit(
    run: truerun.Run, recipe: Recipe, samples: Samples, validation: Samples, report: Report | None = None
) -> tuple[Surrogate, int]:
    """Train; each step logs the loss and its parts, each epoch of EPOCH steps the validation by group.

    Args:
        report: Called after each epoch with step, loss and validation by group.

    Returns:
        The surrogate and its last step, which is earlier than asked for when somebody told the run to stop.
    """
    # Matrices this small are slower on several threads than on one.
    torch.set_num_threads(1)
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    chance = np.array(recipe.share)[samples.group]
    chance /= chance.sum()
    start, end, viscosity = (_tensor(each) for each in (samples.start, samples.end, samples.viscosity))

    model = Surrogate()
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=recipe.steps)
    step = 0
    for step in range(1, recipe.steps + 1):
        batch = torch.from_numpy(rng.choice(len(chance), recipe.batch, p=chance))
        answer = model(start[batch], viscosity[batch])
        loss, parts = loss_of(answer, start[batch], end[batch], recipe)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        run.log({"loss": loss, "loss/data": parts["data"], "loss/mass": parts["mass"]}, step=step)

        if step % EPOCH == 0 or step == recipe.steps:
            groups = by_group(measure(model, validation), validation)
            run.log_groups(groups, step=step, split="val")
            if report is not None:
                report(step, float(loss.detach()), groups)
            if run.stop_requested:
                break
    return model, step


def loss_of(answer: Tensor, start: Tensor, end: Tensor, recipe: Recipe) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss to descend, and its parts before they are weighted (the data part has weight 1)."""
    data = ((answer - end).norm(dim=1) / end.norm(dim=1)).mean()
    mass = (answer.mean(dim=1) - start.mean(dim=1)).abs().mean()
    return data + recipe.mass_weight * mass, {"data": data, "mass": mass}


def measure(model: Surrogate, samples: Samples) -> dict[str, Fields]:
    """Every metric for every sample, each of shape (B,)."""
    answer = predict(model, samples).numpy().astype(np.float64)
    return {
        "rel_l2": physics.relative_error(answer, samples.end),
        "spectral_error": physics.spectral_error(answer, samples.end),
        "mass_gap": physics.mass_gap(answer, samples.start),
        "energy_growth": physics.energy_growth(answer, samples.start),
    }


def predict(model: Surrogate, samples: Samples) -> Tensor:
    with torch.no_grad():
        answer: Tensor = model(_tensor(samples.start), _tensor(samples.viscosity))
    return answer


def by_group(measured: Mapping[str, Fields], samples: Samples) -> dict[str, dict[str, float]]:
    """The means, by group and metric."""
    return {
        name: {metric: float(values[samples.group == i].mean()) for metric, values in measured.items()}
        for i, name in enumerate(GROUPS)
    }


def evaluate(
    run: truerun.Run, recipe: Recipe, model: Surrogate, samples: Samples, validation: Samples, *, step: int
) -> truerun.Verdict:
    """Post the evaluation, sample by sample through the meter, and wait for the verdict."""
    meter = run.evaluation(
        suite=SUITE,
        step=step,
        metrics={
            "rel_l2": "lower",
            "spectral_error": {"direction": "lower", "role": "secondary", "pooling": "mean"},
            "mass_gap": "limit",
            "energy_growth": "limit",
        },
        groups=list(GROUPS),
        tiers=TIERS,
        dataset="burgers-1d",
        split="val",
        protocol=f"{CELLS} of {FINE} cells, time {HORIZON:g}",
    )
    for metric, values in measure(model, validation).items():
        meter.update(metric, values, groups=validation.group)
    meter.state(n=len(validation))
    with torch.no_grad():
        on_train, parts = _loss_on(model, samples, recipe)
        on_validation, _ = _loss_on(model, validation, recipe)
    meter.loss(
        train=on_train,
        val=on_validation,
        total=on_train,
        parts=parts,
        weights={"data": 1.0, "mass": recipe.mass_weight},
    )
    return meter.submit(timeout=60)


def _loss_on(model: Surrogate, samples: Samples, recipe: Recipe) -> tuple[float, dict[str, float]]:
    loss, parts = loss_of(predict(model, samples), _tensor(samples.start), _tensor(samples.end), recipe)
    return float(loss), {name: float(part) for name, part in parts.items()}


def _tensor(values: Fields) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))


def main() -> None:
    parser = argparse.ArgumentParser(description="Train one surrogate of Burgers' equation.")
    parser.add_argument("--run-key", help="what the run is called; by default a fresh name")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument(
        "--share", type=float, nargs=len(GROUPS), default=[1.0] * len(GROUPS), metavar=GROUPS,
        help="of the training samples, by group",
    )  # fmt: skip
    args = parser.parse_args()
    recipe = Recipe(steps=args.steps, seed=args.seed, share=tuple(args.share))
    samples, validation = train_set(), validation_set()
    with truerun.init(project=PROJECT, run_key=args.run_key, config=asdict(recipe), seed=recipe.seed) as run:
        model, step = fit(run, recipe, samples, validation)
        verdict = evaluate(run, recipe, model, samples, validation, step=step)
    print(verdict.gate, "-", verdict)


if __name__ == "__main__":
    main()
