"""On a real GPU: nothing that the client does makes the training's thread wait for the device.

Needs torch with CUDA and pytest, nothing else: `make test-gpu GPU_PYTHON=python3`. What was recorded is read from the
spool.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch")

import truerun  # noqa: E402
from truerun import tensors  # noqa: E402
from truerun.points import Decoder, Point  # noqa: E402
from truerun.runs import Run  # noqa: E402

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

# Clock cycles that keep a device busy for some tenths of a second.
LONG = 500_000_000


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("TRUERUN_URL", "TRUERUN_MODE", "RANK", "SLURM_PROCID", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path


@contextmanager
def unsynchronised() -> Iterator[None]:
    """Within it whatever waits for a device is an error of torch's own."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def a_run() -> Run:
    return truerun.init("burgers", mode="offline", strict=True)


def recorded(home: Path, name: str) -> list[float]:
    """The values of a metric in the order in which they were logged."""
    found: list[Point] = []
    for path in sorted(home.glob("truerun/spool/*/streams/*/*.seg")):
        records, _ = Decoder().decode(path.read_bytes(), 0)
        found += [record for record in records if isinstance(record, Point)]
    return [
        point.numbers[point.keys.names.index(("", name))]
        for point in sorted(found, key=lambda point: point.idx)
        if ("", name) in point.keys.names
    ]


def a_net() -> Any:
    torch.manual_seed(0)
    layers = [torch.nn.Linear(64, 256), torch.nn.GELU(), torch.nn.Linear(256, 64)]
    return torch.nn.Sequential(*layers).cuda()


def whole(found: Any) -> float:
    return math.sqrt(sum(float((each.double() ** 2).sum()) for each in found))


def test_scalars_are_logged_without_a_wait_and_arrive_as_they_were(home: Path) -> None:
    run = a_run()
    numbers = torch.arange(100, device="cuda", dtype=torch.float32) / 7
    expected = numbers.tolist()

    with unsynchronised():
        for step in range(10):
            run.log({f"m{i}": numbers[10 * step + i] for i in range(10)} | {"plain": step}, step=step)
        numbers.zero_()
    run.finish()

    for i in range(10):
        assert recorded(home, f"m{i}") == expected[i::10]
    assert recorded(home, "plain") == list(range(10))


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "int64", "bool"])
def test_every_kind_of_number_survives_the_copy(home: Path, dtype: str) -> None:
    run = a_run()
    number = torch.tensor(1.0, device="cuda").to(getattr(torch, dtype))

    with unsynchronised():
        run.log({"x": number})
    run.finish()

    assert recorded(home, "x") == [1.0]


def test_what_is_copied_to_is_pinned_and_says_when_it_is_there() -> None:
    with unsynchronised():
        torch.cuda._sleep(LONG)
        late, refused = tensors.take({0: torch.tensor(2.5, device="cuda")})
        assert late is not None
        was_ready = late.is_ready()
    ((_, host, flag),) = late._copies
    assert host.is_pinned()
    assert flag.is_pinned()
    torch.cuda.synchronize()

    assert (was_ready, refused) == (False, [])
    assert late.is_ready()
    assert late.values() == {0: 2.5}


def test_log_returns_while_the_device_is_busy_on_a_stream_of_its_own(home: Path) -> None:
    run = a_run()
    run.log({"warm": torch.ones((), device="cuda")})
    stream = torch.cuda.Stream()

    with unsynchronised(), torch.cuda.stream(stream):
        number = torch.ones((), device="cuda")
        torch.cuda._sleep(LONG)
        number += 41
        run.log({"answer": number})
        was_busy = not stream.query()
    run.finish()

    assert was_busy
    assert recorded(home, "answer") == [42.0]


def test_a_graph_is_captured_while_numbers_are_on_their_way(home: Path) -> None:
    run = a_run()
    x = torch.zeros((), device="cuda")
    side = torch.cuda.Stream()
    torch.cuda.synchronize()
    torch.cuda._sleep(LONG)
    for step in range(20):
        run.log({"before": x + step})

    # The writer's thread asks all the while whether they have arrived; torch.cuda.graph() would wait for the device
    # first.
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.stream(side):
        y = torch.zeros((), device="cuda")
        graph.capture_begin()
        y += 1
        time.sleep(0.1)
        graph.capture_end()
        was_busy = not torch.cuda.default_stream().query()
        graph.replay()
        run.log({"after": y})
    run.finish()

    assert was_busy
    assert recorded(home, "before") == [float(step) for step in range(20)]
    assert recorded(home, "after") == [1.0]


def test_what_is_logged_inside_of_a_capture_is_dropped_and_the_graph_is_whole(home: Path) -> None:
    run = truerun.init("burgers", mode="offline")
    x = torch.zeros((), device="cuda")
    graph = torch.cuda.CUDAGraph()

    with torch.cuda.graph(graph):
        x += 1
        run.log({"inside": x})
    for _ in range(3):
        graph.replay()
    run.log({"outside": x})
    run.finish()

    assert recorded(home, "inside") == []
    assert recorded(home, "outside") == [3.0]
    assert run.manners.counts["dropped"] == 1


def sgd(parameters: Any) -> Any:
    return torch.optim.SGD(parameters, lr=0.01, momentum=0.9)


def adam(parameters: Any) -> Any:
    return torch.optim.AdamW(parameters, lr=0.01, fused=True)


def adam_with_rates_on_the_device(parameters: Any) -> Any:
    return torch.optim.AdamW(parameters, lr=torch.tensor(0.01, device="cuda"), capturable=True)


@pytest.mark.parametrize("make", [sgd, adam, adam_with_rates_on_the_device])
def test_a_training_is_watched_without_a_wait_and_the_numbers_are_right(
    home: Path, make: Callable[[Any], Any]
) -> None:
    run = a_run()
    model = a_net()
    optimizer = make(model.parameters())
    run.watch(model, optimizer, every=1)
    batch = torch.randn(32, 64, device="cuda")

    # Once outside, since an optimizer's first step may make its state in ways of its own.
    kept: list[Any] = []
    for step in range(5):
        with unsynchronised() if step else _as_it_is():
            optimizer.zero_grad()
            (model(batch) ** 2).mean().backward()
            kept.append([parameter.grad.clone() for parameter in model.parameters()])
            kept.append([parameter.detach().clone() for parameter in model.parameters()])
            optimizer.step()
            kept.append([parameter.detach().clone() for parameter in model.parameters()])
            run.log({"step": step}, step=step)
    run.finish()

    gradients, before, after = kept[0::3], kept[1::3], kept[2::3]
    ratios = [
        whole(new - old for new, old in zip(news, olds, strict=True)) / whole(olds)
        for news, olds in zip(after, before, strict=True)
    ]
    assert recorded(home, "watch/grad_norm") == pytest.approx([whole(each) for each in gradients], rel=1e-4)
    assert recorded(home, "watch/update_ratio") == pytest.approx(ratios, rel=1e-3)
    assert recorded(home, "watch/lr/0") == pytest.approx([0.01] * 5)
    assert recorded(home, "watch/nonfinite") == [0.0] * 5


def test_a_fused_optimizers_scaled_gradients_are_told_unscaled(home: Path) -> None:
    model = a_net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, fused=True)
    scaler = torch.amp.GradScaler("cuda", init_scale=4096.0)
    batch = torch.randn(32, 64, device="cuda")
    (model(batch) ** 2).mean().backward()
    expected = whole(parameter.grad for parameter in model.parameters())
    optimizer.zero_grad()
    run = a_run()
    run.watch(model, optimizer, every=1)

    scaler.scale((model(batch) ** 2).mean()).backward()
    scaler.step(optimizer)
    scaler.update()
    run.log({"loss": 0.0})
    run.finish()

    assert recorded(home, "watch/grad_norm") == pytest.approx([expected], rel=1e-4)


def test_parameters_on_host_and_device_are_watched_together(home: Path) -> None:
    parameters = [torch.nn.Parameter(torch.full((3,), 2.0, device=device)) for device in ("cpu", "cuda")]
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer = torch.optim.SGD(parameters, lr=0.5)
    run = a_run()
    model = torch.nn.ParameterList(parameters)
    run.watch(model, optimizer)
    optimizer.step()
    run.log({"loss": 0.0})
    run.finish()

    assert recorded(home, "watch/grad_norm") == pytest.approx([math.sqrt(6)])
    assert recorded(home, "watch/update_ratio") == pytest.approx([0.25])


def test_a_watched_step_that_is_captured_is_left_alone(home: Path) -> None:
    run = truerun.init("burgers", mode="offline")
    model = a_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    batch = torch.randn(32, 64, device="cuda")
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            optimizer.zero_grad(set_to_none=True)
            (model(batch) ** 2).mean().backward()
            optimizer.step()
    torch.cuda.synchronize()
    run.watch(model, optimizer, every=1)
    before = model[0].weight.detach().clone()

    graph = torch.cuda.CUDAGraph()
    optimizer.zero_grad(set_to_none=True)
    with torch.cuda.graph(graph):
        (model(batch) ** 2).mean().backward()
        optimizer.step()
    graph.replay()
    run.log({"loss": 0.0})
    run.finish()

    assert not torch.equal(before, model[0].weight)
    assert recorded(home, "watch/grad_norm") == []


def test_ten_scalars_of_a_device_cost_no_more_than_their_kernels(home: Path) -> None:
    run = a_run()
    numbers = list(torch.rand(10, device="cuda").unbind())
    names = [f"m{i}" for i in range(10)]
    seconds = []
    for _ in range(300):
        began = time.perf_counter()
        run.log(dict(zip(names, numbers, strict=True)))
        seconds.append(time.perf_counter() - began)
    run.finish()

    median = statistics.median(seconds[50:])
    print(
        f"log() of ten CUDA scalars: median {1e6 * median:.0f} µs, 99 % {1e6 * sorted(seconds[50:])[-3]:.0f} µs"
    )
    # Twelve kernels at about 10 µs each with room for a slow host; a wait for a busy device costs far more.
    assert median < 1e-3


@contextmanager
def _as_it_is() -> Iterator[None]:
    yield
