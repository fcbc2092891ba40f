"""Real tensors, where torch is installed: detached, copied, and never waited for one by one."""

from __future__ import annotations

import math
import statistics
from typing import Any

import pytest

from tests.client.test_meter import a_meter
from truerun.arrays import labels_of, samples_of, scalar_of
from truerun.configuration import as_json
from truerun.environment import determinism

torch: Any = pytest.importorskip("torch")
devices = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])


@pytest.mark.parametrize("device", devices)
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "int32", "bool"])
def test_tensors_of_every_kind_are_samples(device: str, dtype: str) -> None:
    tensor = torch.tensor([1, 0, 1], device=device).to(getattr(torch, dtype))

    assert list(samples_of(tensor)) == [1.0, 0.0, 1.0]


@pytest.mark.parametrize("device", devices)
def test_a_tensor_with_a_gradient_is_read_and_keeps_its_graph(device: str) -> None:
    weight = torch.ones(3, device=device, requires_grad=True)
    errors = weight * 2

    samples = samples_of(errors)
    errors.sum().backward()

    assert list(samples) == [2.0, 2.0, 2.0]
    assert weight.grad is not None


def test_a_tensor_that_is_reused_does_not_change_what_was_measured() -> None:
    buffer = torch.tensor([1.0, 2.0], dtype=torch.float64)

    samples = samples_of(buffer)
    buffer.zero_()

    assert list(samples) == [1.0, 2.0]


@pytest.mark.parametrize("device", devices)
def test_a_meter_agrees_with_torch_group_by_group(device: str) -> None:
    generator = torch.Generator().manual_seed(1)
    errors = torch.randn(1000, generator=generator, dtype=torch.float64).to(device)
    groups = torch.randint(0, 3, (1000,), generator=generator).to(device)
    meter, desk = a_meter(groups=["easy", "medium", "hard"])

    for start in range(0, 1000, 64):
        meter.update("err", errors[start : start + 64], groups[start : start + 64])
    meter.submit()

    for i, name in enumerate(("easy", "medium", "hard")):
        part = errors[groups == i].cpu()
        cell = desk.cells["err", name]
        assert cell.n == len(part)
        assert math.isclose(cell.value, float(part.mean()), rel_tol=1e-12, abs_tol=1e-15)
        assert cell.stderr is not None
        assert math.isclose(cell.stderr, statistics.stdev(part.tolist()) / math.sqrt(len(part)), rel_tol=1e-9)


def test_a_reduced_loss_is_named_as_such() -> None:
    meter, _ = a_meter(strict=True)

    with pytest.raises(ValueError, match="reduced to one number"):
        meter.update("nrmse", torch.tensor([0.1, 0.2]).mean(), ["a", "b"])


def test_single_tensors_are_single_numbers() -> None:
    assert scalar_of(torch.tensor(0.5, requires_grad=True)) == 0.5
    assert scalar_of(torch.tensor(3)) == 3.0
    assert scalar_of(torch.tensor(0.5, dtype=torch.bfloat16)) == 0.5


def test_labels_may_be_single_tensors() -> None:
    labels = labels_of([torch.tensor(1), torch.tensor(0), torch.tensor(1)], 3, ("easy", "hard"))

    assert [labels.names[i] for i in labels.index] == ["hard", "easy", "hard"]


def test_a_tensor_in_the_configuration_is_its_shape() -> None:
    assert as_json({"w": torch.zeros(2, 3)}) == {"w": "Tensor(2, 3)"}


def test_the_flags_of_this_torch_are_noted() -> None:
    noted = determinism(torch)

    assert noted["cudnn_benchmark"] is torch.backends.cudnn.benchmark
    assert noted["deterministic_algorithms"] is torch.are_deterministic_algorithms_enabled()
    assert noted["default_dtype"] == "torch.float32"
    assert "matmul_precision" in noted
