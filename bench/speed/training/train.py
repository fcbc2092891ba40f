"""A small training that logs in turns: it learns one step of diffusion, with the client, without, without, with, …

Run by an environment of its own, which has torch. The last line it prints has each step's milliseconds, by block.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any, TypedDict

import torch

import truerun

_SIDE, _BATCH, _WIDTH = 32, 16, 24
_BATCHES = 32


def main() -> None:
    """Arguments of the program: pairs of blocks, seconds a block, untimed seconds after each."""
    pairs, seconds, rest = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
    # The service is on the same machine here, and has a core for itself.
    torch.set_num_threads(1)
    torch.manual_seed(1)
    training = _Training()
    run = truerun.init("training", name="paired", seed=1)
    logged = 0

    def log(numbers: dict[str, Any]) -> None:
        nonlocal logged
        run.log(numbers)
        logged += 1

    _steps(training, rest, _nothing)
    blocks: dict[bool, list[_Block]] = {True: [], False: []}
    for pair in range(pairs):
        for is_logged in (True, False) if pair % 2 == 0 else (False, True):
            blocks[is_logged].append(_steps(training, seconds, log if is_logged else _nothing))
            # What the client still has to write and send falls into no other block.
            _steps(training, rest, _nothing)
    run.finish(timeout=30.0)
    document = {"with": blocks[True], "without": blocks[False], "logged": logged, "run_key": run.key}
    sys.stdout.write(f"\n{json.dumps(document)}\n")


class _Training:
    """Everything but the log; `step` returns what there is to be logged."""

    def __init__(self) -> None:
        layers: list[Any] = [
            torch.nn.Conv2d(1, _WIDTH, 3, padding=1, padding_mode="circular"),
            torch.nn.GELU(),
        ]
        layers += [torch.nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1, padding_mode="circular"), torch.nn.GELU()]
        layers += [torch.nn.Conv2d(_WIDTH, 1, 3, padding=1, padding_mode="circular")]
        self._model = torch.nn.Sequential(*layers)
        self._optimizer = torch.optim.AdamW(self._model.parameters(), lr=1e-3)
        self._batches = [_diffusion() for _ in range(_BATCHES)]
        self._at = 0

    def step(self) -> dict[str, Any]:
        before, after = self._batches[self._at % _BATCHES]
        self._at += 1
        predicted = before + self._model(before)
        data = torch.nn.functional.mse_loss(predicted, after)
        # Diffusion keeps what there is in sum.
        conserved = (predicted.mean(dim=(-2, -1)) - before.mean(dim=(-2, -1))).square().mean()
        loss = data + 0.1 * conserved
        self._optimizer.zero_grad()
        loss.backward()
        gradient = torch.nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
        self._optimizer.step()
        return {
            "loss": loss,
            "loss/data": data,
            "loss/conserved": conserved,
            "gradient_norm": gradient,
            "lr": self._optimizer.param_groups[0]["lr"],
            "epoch": self._at / _BATCHES,
            "batch": self._at % _BATCHES,
            "samples": self._at * _BATCH,
            "weight/conserved": 0.1,
            "clip": 1.0,
        }


def _diffusion() -> tuple[Any, Any]:
    """Smooth random fields and what diffusion makes of them, each of shape (_BATCH, 1, _SIDE, _SIDE)."""
    wave = torch.fft.fftfreq(_SIDE) * _SIDE
    square = wave[:, None] ** 2 + wave[None, :] ** 2
    spectrum = torch.fft.fft2(torch.randn(_BATCH, 1, _SIDE, _SIDE)) / (1.0 + square)
    before = torch.fft.ifft2(spectrum).real
    after = torch.fft.ifft2(spectrum * torch.exp(-0.01 * square)).real
    return before / before.std(), after / before.std()


class _Block(TypedDict):
    """Milliseconds of each step, its log included: by the clock, and of the processor in the training's thread."""

    wall: list[float]
    processor: list[float]


def _steps(training: _Training, seconds: float, log: Callable[[dict[str, Any]], None]) -> _Block:
    took: _Block = {"wall": [], "processor": []}
    began, spent = time.perf_counter_ns(), time.thread_time_ns()
    until = began + int(1e9 * seconds)
    while not took["wall"] or began < until:
        log(training.step())
        ended, spent_now = time.perf_counter_ns(), time.thread_time_ns()
        took["wall"].append((ended - began) / 1e6)
        took["processor"].append((spent_now - spent) / 1e6)
        began, spent = ended, spent_now
    return took


def _nothing(_numbers: dict[str, Any]) -> None:
    pass


if __name__ == "__main__":
    main()
