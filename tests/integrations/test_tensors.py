"""What a training may hand to `log`: real tensors of every kind, none of them read on its thread."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest

import truerun
from tests.client.fake_service import PROJECT_TOKEN, FakeService
from truerun.runs import Run

torch: Any = pytest.importorskip("torch")


def a_run(service: FakeService) -> Run:
    return truerun.init("burgers", run_key="run", url=service.url, token=PROJECT_TOKEN)


def arrived(service: FakeService, metric: str) -> list[tuple[int, Any]]:
    (stream,) = service.streams.values()
    return stream.values(metric)


def with_grad() -> Any:
    weight = torch.ones(3, requires_grad=True)
    return (weight * 2).sum()


@pytest.mark.parametrize(
    ("make", "number"),
    [
        (lambda: torch.tensor(0.5), 0.5),
        (lambda: torch.tensor([0.5]), 0.5),
        (lambda: torch.tensor([[[0.5]]]), 0.5),
        (lambda: torch.tensor(0.5, dtype=torch.bfloat16), 0.5),
        (lambda: torch.tensor(0.5, dtype=torch.float16), 0.5),
        (lambda: torch.tensor(0.1, dtype=torch.float64), 0.1),
        (lambda: torch.tensor(7, dtype=torch.uint8), 7.0),
        (lambda: torch.tensor(2**40), float(2**40)),
        (lambda: torch.tensor(True), 1.0),
        (lambda: torch.tensor(math.nan), "NaN"),
        (lambda: torch.tensor(-math.inf), "-Infinity"),
        (with_grad, 6.0),
        (lambda: torch.nn.Parameter(torch.tensor(0.25)), 0.25),
        (lambda: torch.arange(6.0).view(2, 3)[1, 2], 5.0),
        (lambda: torch.tensor(1.5).expand(1, 1), 1.5),
        (lambda: torch.tensor([1.0, 2.0]).requires_grad_().mean(), 1.5),
    ],
    ids=[
        "no dimension", "one element", "three dimensions", "bfloat16", "float16", "float64", "uint8", "int64", "bool",
        "NaN", "-inf", "with a graph", "a parameter", "a view", "expanded", "a mean",
    ],
)  # fmt: skip
def test_a_tensor_of_one_number_is_that_number(
    service: FakeService, make: Callable[[], Any], number: float | str
) -> None:
    run = a_run(service)

    run.log({"loss": make(), "plain": 1.0})
    run.finish()

    assert arrived(service, "loss") == [(0, number)]
    assert arrived(service, "plain") == [(0, 1.0)]


class Broken(torch.Tensor):  # type: ignore[misc]
    """A tensor whose device fails at whatever is asked of it."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")


class Uncopied(torch.Tensor):  # type: ignore[misc]
    """A tensor that can be looked at and not copied."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.Tensor.to, torch.stack):
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return super().__torch_function__(func, types, args, kwargs or {})


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.ones(2),
        lambda: torch.ones(0),
        lambda: torch.tensor(1j),
        lambda: torch.ones(1, device="meta"),
        lambda: torch.tensor([1.0]).to_sparse(),
        lambda: torch.tensor([[1.0]]).to_sparse_csr(),
        lambda: torch.tensor([1.0]).as_subclass(Broken),
        lambda: torch.tensor([1.0]).as_subclass(Uncopied),
        lambda: torch.nested.nested_tensor([torch.ones(1)], layout=torch.jagged),
    ],
    ids=[
        "vector",
        "empty",
        "complex",
        "meta",
        "sparse",
        "sparse rows",
        "broken device",
        "cannot be copied",
        "nested",
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_tensor_that_is_no_number_is_dropped_and_counted_and_its_neighbours_arrive(
    service: FakeService, make: Callable[[], Any]
) -> None:
    run = a_run(service)

    run.log({"before": torch.tensor(1.0), "odd": make(), "after": torch.tensor(2.0), "plain": 3.0})
    run.finish()

    (stream,) = service.streams.values()
    assert stream.values("odd") == []
    assert [stream.values(name) for name in ("before", "after", "plain")] == [
        [(0, 1.0)],
        [(0, 2.0)],
        [(0, 3.0)],
    ]
    told = [request.body["dropped"] for request in service.requests if request.path.endswith("/records")]
    assert told[-1] == {"not_a_number": 1}


def test_what_a_training_changes_in_place_afterwards_is_not_what_it_logged(service: FakeService) -> None:
    run = a_run(service)
    buffer = torch.zeros(4)

    for step in range(200):
        buffer.fill_(step)
        run.log({"view": buffer[0], "scalar": buffer[1:2], "wide": buffer.double()[2]})
        buffer.fill_(-1.0)
    run.finish()

    for name in ("view", "scalar", "wide"):
        assert arrived(service, name) == [(step, float(step)) for step in range(200)]


def test_a_loss_that_was_logged_can_still_be_differentiated(service: FakeService) -> None:
    run = a_run(service)
    weight = torch.ones(3, requires_grad=True)
    loss = (weight * 2).sum()

    run.log({"loss": loss})
    loss.backward()
    run.finish()

    assert weight.grad.tolist() == [2.0, 2.0, 2.0]
    assert loss.requires_grad
    assert arrived(service, "loss") == [(0, 6.0)]


def test_logging_inside_a_transformed_function_disturbs_neither_it_nor_the_run(service: FakeService) -> None:
    run = a_run(service)

    def loss(weight: Any) -> Any:
        value = (weight**2).sum()
        run.log({"inside": value, "plain": 1.0})
        return value

    gradient = torch.func.grad(loss)(torch.tensor([1.0, 2.0]))
    each = torch.func.vmap(loss)(torch.tensor([[1.0], [2.0]]))
    run.finish()

    assert gradient.tolist() == [2.0, 4.0]
    assert each.tolist() == [1.0, 4.0]
    assert arrived(service, "inside") == []
    assert len(arrived(service, "plain")) == 2


def test_logging_under_every_mode_of_torch_changes_nothing(service: FakeService) -> None:
    run = a_run(service)
    with torch.no_grad():
        run.log({"no_grad": torch.tensor(1.0)})
    with torch.inference_mode():
        run.log({"inference": torch.tensor(2.0)})
    with torch.autocast("cpu", dtype=torch.bfloat16):
        run.log({"autocast": torch.tensor(0.1, dtype=torch.float64)})
    with torch.autograd.graph.saved_tensors_hooks(lambda _: 1 / 0, lambda _: 1 / 0):
        run.log({"hooks": torch.tensor(4.0, requires_grad=True)})
    before = torch.get_rng_state()
    run.log_groups({"easy": {"mse": torch.tensor(5.0)}, "hard": {"mse": torch.ones(2)}})
    run.finish()

    assert [arrived(service, name)[0][1] for name in ("no_grad", "inference", "autocast", "hooks")] == [
        1,
        2,
        0.1,
        4,
    ]
    assert arrived(service, "easy:mse")[0][1] == 5.0
    assert arrived(service, "hard:mse") == []
    assert torch.equal(torch.get_rng_state(), before)


def test_a_step_that_is_compiled_logs_what_it_computed(service: FakeService) -> None:
    run = a_run(service)

    @torch.compile(backend="eager")  # type: ignore[untyped-decorator]
    def step(weight: Any) -> Any:
        return (weight * 3).sum()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run.log({"loss": step(torch.ones(2))})
    run.finish()

    assert arrived(service, "loss") == [(0, 6.0)]
