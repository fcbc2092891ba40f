"""Trainings that are watched, and what arrived of them."""

from __future__ import annotations

import math
from typing import Any

import torch

import truerun
from tests.client.fake_service import PROJECT_TOKEN, FakeService
from tests.client.fake_streams import Stream
from truerun.runs import Run


def a_run(service: FakeService, **more: Any) -> Run:
    return truerun.init(
        "burgers", run_key="run", url=service.url, token=PROJECT_TOKEN, **{"strict": True} | more
    )


def the_stream(service: FakeService) -> Stream:
    (stream,) = service.streams.values()
    return stream


def of(service: FakeService, name: str) -> list[float]:
    return [float(value) for _, value in the_stream(service).values(name)]


def a_loss(model: Any) -> Any:
    generator = torch.Generator().manual_seed(1)
    batch = torch.randn(16, 4, generator=generator)
    return (model(batch) ** 2).mean()


def train(run: Run, model: Any, optimizer: Any, steps: int = 1) -> None:
    for step in range(steps):
        optimizer.zero_grad()
        loss = a_loss(model)
        loss.backward()
        optimizer.step()
        run.log({"loss": loss}, step=step)


def whole(tensors: Any) -> float:
    return math.sqrt(sum(float((tensor.double().abs() ** 2).sum()) for tensor in tensors))
