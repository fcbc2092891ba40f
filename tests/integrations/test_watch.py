"""Watching real models of torch: the numbers are right, nobody waits for them, and the training never notices."""

from __future__ import annotations

import copy
import gc
import math
import os
import sys
import time
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch")

import truerun  # noqa: E402
from tests.client.fake_service import PROJECT_TOKEN, FakeService  # noqa: E402
from tests.client.fake_streams import Stream  # noqa: E402
from tests.integrations.unread import Read, a_net, unread  # noqa: E402
from truerun import health  # noqa: E402
from truerun.runs import Run  # noqa: E402


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


def test_what_is_watched_is_what_a_scientist_would_compute(service: FakeService) -> None:
    model = a_net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    run = a_run(service)
    run.watch(model, optimizer, every=1)

    expected: dict[str, list[float]] = {"grad_norm": [], "update_ratio": []}
    for step in range(10):
        optimizer.zero_grad()
        a_loss(model).backward()
        before = [parameter.detach().clone() for parameter in model.parameters()]
        expected["grad_norm"].append(whole(parameter.grad for parameter in model.parameters()))
        optimizer.step()
        changes = [new.detach() - old for new, old in zip(model.parameters(), before, strict=True)]
        expected["update_ratio"].append(whole(changes) / whole(before))
        run.log({"loss": 0.0}, step=10 * step)
    run.finish()

    for name, numbers in expected.items():
        assert of(service, f"watch/{name}") == pytest.approx(numbers, rel=1e-5)
    assert [step for step, _ in the_stream(service).values("watch/grad_norm")] == list(range(0, 100, 10))
    for name, number in {"nonfinite": 0, "zero_grad": 0, "no_grad": 0, "lr/0": 0.01}.items():
        assert of(service, f"watch/{name}") == [number] * 10


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
        lambda p: torch.optim.AdamW(p, lr=0.1, foreach=True),
        lambda p: torch.optim.AdamW(p, lr=0.1, fused=True),
        lambda p: torch.optim.Adam(p, lr=torch.tensor(0.1), capturable=False, foreach=False),
    ],
    ids=["SGD", "foreach", "fused", "lr is a tensor"],
)
def test_nothing_of_a_tensor_is_read_on_the_trainings_thread(
    service: FakeService, make: Callable[[Any], Any]
) -> None:
    model = a_net()
    optimizer = make(model.parameters())
    run = a_run(service)
    run.watch(model, optimizer, every=1)

    for step in range(3):
        optimizer.zero_grad()
        loss = a_loss(model)
        loss.backward()
        steps = run._watches[0]._steps[0]
        with unread():
            steps.watch_step(optimizer, has_closure=False)
        # Some optimizers read their own step count; what is ours must not.
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.01 * parameter.grad
        with unread():
            steps.watch_stepped(optimizer)
            run.log({"loss": loss, "lr": torch.tensor(0.5)}, step=step)
    run.finish()

    assert all(math.isfinite(number) and number > 0 for number in of(service, "watch/grad_norm"))
    assert len(of(service, "watch/update_ratio")) == 3
    assert of(service, "watch/lr/0") == pytest.approx([0.1] * 3)
    assert len(of(service, "loss")) == 3


def test_a_whole_step_reads_nothing_with_hooks_in_place(service: FakeService) -> None:
    model = a_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run = a_run(service)
    run.watch(model, optimizer, every=1)

    with unread():
        train(run, model, optimizer, 5)
    run.finish()

    assert len(of(service, "watch/grad_norm")) == len(of(service, "loss")) == 5


@pytest.mark.parametrize(
    "read",
    [
        float,
        bool,
        int,
        lambda t: t.item(),
        lambda t: t.tolist(),
        lambda t: t.cpu(),
        lambda t: t.numpy(),
        lambda t: t > 0 and 1,
    ],
)
def test_the_proof_notices_whoever_reads(read: Callable[[Any], Any]) -> None:
    number = torch.tensor(1.0)

    with unread(), pytest.raises(Read):
        read(number)


def test_training_with_a_watch_gives_the_same_weights_to_the_last_bit(service: FakeService) -> None:
    watched, alone = a_net(), a_net()
    run = a_run(service)
    optimizers = [torch.optim.AdamW(model.parameters(), lr=0.01) for model in (watched, alone)]
    run.watch(watched, optimizers[0], every=2)

    for model, optimizer in zip((watched, alone), optimizers, strict=True):
        torch.manual_seed(3)
        for _ in range(20):
            optimizer.zero_grad()
            (a_loss(model) * torch.rand(())).backward()
            optimizer.step()
    run.finish()

    assert all(torch.equal(a, b) for a, b in zip(watched.parameters(), alone.parameters(), strict=True))


def test_one_step_of_many_is_read_beginning_with_the_first(service: FakeService) -> None:
    model = a_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run = a_run(service)
    run.watch(model, optimizer, every=10)
    train(run, model, optimizer, 25)
    run.finish()

    assert [step for step, _ in the_stream(service).values("watch/grad_norm")] == [0, 10, 20]


def test_numbers_wait_for_the_trainings_own_records_and_the_newest_counts(service: FakeService) -> None:
    model = a_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run = a_run(service)
    run.watch(model, optimizer, every=1)

    for step in range(6):
        optimizer.param_groups[0]["lr"] = step
        a_loss(model).backward()
        optimizer.step()
        run.log({"acc": 0.5}, step=1000, split="val")
        if step % 3 == 2:
            run.log({"loss": 1.0}, step=step, split="train")
    optimizer.step()
    run.finish()

    assert the_stream(service).values("watch/lr/0") == [(2, 2.0), (5, 5.0), (5, 5.0)]


def test_a_watch_without_any_log_writes_nothing(service: FakeService) -> None:
    model = a_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run = a_run(service)
    run.watch(model, optimizer, every=1)
    optimizer.step()
    run.finish()

    assert the_stream(service).values("watch/no_grad") == []


def test_what_is_not_finite_zero_or_missing_is_counted(service: FakeService) -> None:
    parameters = [torch.nn.Parameter(torch.ones(3)) for _ in range(6)]
    model = torch.nn.ParameterList(parameters)
    parameters[5].requires_grad_(False)
    gradients: list[Any] = [[1.0, 0, 0], [0.0, 0, 0], [1, math.nan, 0], [1, math.inf, 0]]
    for parameter, gradient in zip(parameters, gradients, strict=False):
        parameter.grad = torch.tensor(gradient)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run = a_run(service)
    run.watch(model, optimizer)
    optimizer.step()
    run.log({"loss": 1}, step=0)
    run.finish()

    found = {name: of(service, f"watch/{name}") for name in ("nonfinite", "zero_grad", "no_grad")}
    assert found == {"nonfinite": [2], "zero_grad": [1], "no_grad": [1]}
    assert not math.isfinite(of(service, "watch/grad_norm")[0])


def test_only_what_belongs_to_model_and_optimizer_is_looked_at(service: FakeService) -> None:
    model, other = a_net(), a_net()
    optimizer = torch.optim.SGD([*model.parameters(), *other.parameters()], lr=0.1)
    run = a_run(service)
    run.watch(model, optimizer)
    (a_loss(model) + 100 * a_loss(other)).backward()
    expected = whole(parameter.grad for parameter in model.parameters())
    optimizer.step()
    run.log({"loss": 1}, step=0)
    run.finish()

    assert of(service, "watch/grad_norm") == pytest.approx([expected], rel=1e-5)


def test_an_optimizer_of_another_model_is_told_of(
    service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    optimizer = torch.optim.SGD(a_net().parameters(), lr=0.1)
    model = a_net()
    run = a_run(service)
    run.watch(model, optimizer, every=1)
    for step in range(3):
        optimizer.step()
        run.log({"loss": 1}, step=step)
    run.finish()

    assert sum("no parameter of the model" in record.getMessage() for record in caplog.records) == 1


def test_several_optimizers_have_names_or_numbers_of_their_own(service: FakeService) -> None:
    model = a_net()
    first = torch.optim.SGD(model[0].parameters(), lr=0.1)
    second = torch.optim.SGD([{"params": model[2].parameters(), "lr": 0.2, "name": "head"}], lr=0.1)
    run = a_run(service)
    run.watch(model, {"body": first, "top": second}, prefix="a")
    run.watch(model, [first, second], prefix="b")
    run.watch(model, prefix="c")
    a_loss(model).backward()
    first.step()
    second.step()
    run.log({"loss": 1}, step=0)
    run.finish()

    for name in ("a/body/lr/0", "b/0/lr/0", "c/lr/0"):
        assert of(service, name) == [0.1]
    for name in ("a/top/lr/head", "b/1/lr/head", "c/1/lr/head"):
        assert of(service, name) == [0.2]


def test_without_an_optimizer_any_that_trains_the_model_is_watched(service: FakeService) -> None:
    run = a_run(service)
    model = a_net()
    run.watch(model)
    stranger = torch.optim.SGD(a_net().parameters(), lr=0.5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    stranger.step()
    optimizer.step()
    run.log({"loss": 1}, step=0)
    run.finish()
    optimizer.step()

    assert of(service, "watch/lr/0") == [0.1]
    assert not the_stream(service).values("watch/1/lr/0")


def test_gradients_of_a_loss_scaler_are_told_in_the_losss_own_unit(service: FakeService) -> None:
    for fused in (False, True):
        model = a_net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=fused)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        a_loss(model).backward()
        expected = whole(parameter.grad for parameter in model.parameters())
        optimizer.zero_grad()
        run = a_run(service)
        run.watch(model, optimizer)
        scaler.scale(a_loss(model)).backward()
        scaler.step(optimizer)
        scaler.update()
        run.log({"loss": 1}, step=0)
        run.finish()

        stream = service.streams.popitem()[1]
        assert float(stream.values("watch/grad_norm")[0][1]) == pytest.approx(expected, rel=1e-4)


def test_accumulated_gradients_are_read_as_the_step_gets_them(service: FakeService) -> None:
    model = a_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run = a_run(service)
    run.watch(model, optimizer)
    for _ in range(4):
        (a_loss(model) / 4).backward()
    expected = whole(parameter.grad for parameter in model.parameters())
    optimizer.step()
    run.log({"loss": 1}, step=3)
    run.finish()

    assert the_stream(service).values("watch/grad_norm") == [(3, pytest.approx(expected, rel=1e-5))]


def test_a_closure_computes_the_gradients_that_count(service: FakeService) -> None:
    model = a_net()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=3)
    run = a_run(service)
    run.watch(model, optimizer, every=1)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = a_loss(model)
        loss.backward()
        return loss

    optimizer.step(closure)
    expected = whole(parameter.grad for parameter in model.parameters())
    run.log({"loss": 1}, step=0)
    run.finish()

    assert of(service, "watch/grad_norm") == pytest.approx([expected], rel=1e-5)
    assert of(service, "watch/no_grad") == [0]
    assert of(service, "watch/update_ratio")[0] > 0


def test_kinds_of_parameters_that_norms_have_to_bear(service: FakeService) -> None:
    kinds = {
        "half": torch.full((4, 3), 60_000.0, dtype=torch.float16),
        "bfloat16": torch.ones(5, dtype=torch.bfloat16),
        "double": torch.ones((2, 2), dtype=torch.float64),
        "complex": torch.full((3,), 3 + 4j),
        "channels last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "nothing": torch.ones(0),
        "one": torch.tensor(2.0),
    }
    model = torch.nn.ParameterList(kinds.values())
    for parameter in model:
        parameter.grad = parameter.detach() * 1
    before = [parameter.detach().clone() for parameter in model]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    run = a_run(service)
    run.watch(model, optimizer)
    optimizer.step()
    run.log({"loss": 1}, step=0)
    run.finish()

    expected = math.sqrt(sum(float((tensor.to(torch.complex128).abs() ** 2).sum()) for tensor in before))
    assert of(service, "watch/grad_norm") == pytest.approx([expected], rel=1e-3)
    assert of(service, "watch/update_ratio") == pytest.approx([0.5], rel=1e-3)
    assert of(service, "watch/nonfinite") == [0]


def test_a_large_model_is_sampled_in_little_memory_and_told_as_a_whole(
    service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "MOST_SAMPLED", 4000)
    torch.manual_seed(0)
    # Of many small ones each gives one number at least, which must not count for more than there are.
    small = [torch.nn.Parameter(torch.full((7,), 1.0)) for _ in range(200)]
    parameters = [torch.nn.Parameter(torch.randn(1200, 512)), *small]
    model = torch.nn.ParameterList(parameters)
    before = [parameter.detach().clone() for parameter in parameters]
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter) if parameter.dim() == 2 else torch.full((7,), 20.0)
    optimizer = torch.optim.SGD(parameters, lr=0.01)
    run = a_run(service)
    run.watch(model, optimizer)
    held: list[int] = []
    optimizer.register_step_pre_hook(
        lambda *_: held.append(sum(each.numel() for each in run._watches[0]._steps[0]._reading._sample))  # type: ignore[union-attr]
    )
    optimizer.step()
    run.log({"loss": 1}, step=0)
    run.finish()

    changes = [new.detach() - old for new, old in zip(parameters, before, strict=True)]
    assert 2000 < held[0] < 4400
    assert of(service, "watch/update_ratio") == pytest.approx([whole(changes) / whole(before)], rel=0.05)


def test_sparse_gradients_are_left_out_and_that_is_said_once(
    service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    model = torch.nn.ModuleDict(
        {"table": torch.nn.Embedding(10, 3, sparse=True), "head": torch.nn.Linear(3, 1)}
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run = a_run(service)
    run.watch(model, optimizer, every=1)
    for step in range(3):
        optimizer.zero_grad()
        model["head"](model["table"](torch.tensor([1, 1, 2]))).sum().backward()
        expected = whole(parameter.grad for parameter in model["head"].parameters())
        optimizer.step()
        run.log({"loss": 1}, step=step)
    run.finish()

    assert of(service, "watch/grad_norm")[-1] == pytest.approx(expected, rel=1e-5)
    assert len(of(service, "watch/update_ratio")) == 3
    assert sum("leaves out" in record.getMessage() for record in caplog.records) == 1


def test_shared_and_frozen_parameters_count_as_the_optimizer_has_them(service: FakeService) -> None:
    model = a_net()
    model.tied = model[0]
    model[2].bias.requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run = a_run(service)
    run.watch(model, optimizer)
    a_loss(model[:3]).backward()
    expected = whole(parameter.grad for parameter in model.parameters() if parameter.grad is not None)
    optimizer.step()
    run.log({"loss": 1}, step=0)
    run.finish()

    assert of(service, "watch/grad_norm") == pytest.approx([expected], rel=1e-5)
    assert of(service, "watch/no_grad") == [0]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_compiled_model_is_watched_as_the_one_it_was_made_of(service: FakeService) -> None:
    model = a_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run = a_run(service)
    run.watch(torch.compile(model, backend="eager"), optimizer, every=1)
    gc.collect()
    train(run, model, optimizer, 2)
    run.finish()

    assert len(of(service, "watch/grad_norm")) == 2


def compiled_steps(optimizer: Any, model: Any) -> dict[str, Any]:
    """How often a compiled step broke its graph, and what was compiled."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    step = torch.compile(optimizer.step, backend="eager")
    for _ in range(2):
        a_loss(model).backward()
        step()
    return {name: dict(torch._dynamo.utils.counters[name]) for name in ("graph_break", "stats")}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_compiled_step_is_compiled_as_ever_and_said_not_to_be_watched(
    service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    model = a_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    alone = compiled_steps(optimizer, model)
    run = a_run(service)
    run.watch(model, optimizer, every=1)
    run.watch(model, every=1, prefix="all")

    before = model[0].weight.detach().clone()
    beside = compiled_steps(optimizer, model)
    run.log({"loss": 1}, step=0)
    run.finish()

    assert beside == alone
    assert not torch.equal(before, model[0].weight)
    assert not the_stream(service).values("watch/grad_norm")
    assert sum("saw no step" in record.getMessage() for record in caplog.records) == 1


def test_the_end_of_a_run_takes_the_hooks_away(service: FakeService) -> None:
    model = a_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    hooks = sys.modules["torch.optim.optimizer"]._global_optimizer_pre_hooks
    run = a_run(service)
    run.watch(model, optimizer)
    run.watch(model, optimizer)
    run.watch(model, prefix="all")
    assert len(optimizer._optimizer_step_pre_hooks) == len(optimizer._optimizer_step_post_hooks) == 1
    assert len(hooks) == 1
    train(run, model, optimizer)
    run.finish()

    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks
    assert not hooks
    assert of(service, "watch/no_grad") == [0]


def test_a_run_that_ends_within_a_step_leaves_the_optimizer_its_hooks(service: FakeService) -> None:
    model = a_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run = a_run(service)
    run.watch(model, optimizer, every=1)
    run.log({"loss": 1}, step=0)
    optimizer.register_step_pre_hook(lambda *_: run.finish())
    optimizer.register_step_post_hook(lambda *_: None)

    optimizer.step()
    optimizer.step()

    assert len(optimizer._optimizer_step_pre_hooks) == 2


def test_neither_model_nor_optimizer_is_kept_alive(service: FakeService) -> None:
    model = a_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    references = [weakref.ref(model), weakref.ref(optimizer), weakref.ref(model[0].weight)]
    run = a_run(service)
    run.watch(model, optimizer, every=1)
    run.watch(model, every=1, prefix="all")
    train(run, model, optimizer, 3)
    a_loss(model).backward()

    def fails(*_: Any) -> None:
        raise RuntimeError("out of memory")

    optimizer.register_step_pre_hook(fails)
    with pytest.raises(RuntimeError):
        optimizer.step()
    del model, optimizer
    gc.collect()

    assert [reference() for reference in references] == [None, None, None]
    run.finish()


def test_an_optimizer_with_hooks_can_be_copied_and_saved(service: FakeService, tmp_path: Any) -> None:
    model = a_net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    run = a_run(service)
    run.watch(model, optimizer, every=1)
    train(run, model, optimizer, 2)

    copy.deepcopy((model, optimizer))
    torch.save((model, optimizer, optimizer.state_dict()), tmp_path / "all.pt")
    run.finish()


class _Fails(torch.nn.Module):
    def parameters(self, recurse: bool = True) -> Any:
        raise RuntimeError("no")


def test_a_fault_of_the_watch_ends_the_watch_and_not_the_training(
    service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    run = a_run(service, strict=False)
    model = _Fails()
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    run.watch(model, optimizer, every=1)
    run.watch(model, every=1, prefix="all")
    for step in range(5):
        weight.grad = torch.ones(1)
        optimizer.step()
        run.log({"loss": 1}, step=step)
    run.finish()

    assert float(weight.detach()) == pytest.approx(0.5)
    assert len(of(service, "loss")) == 5
    assert not the_stream(service).values("watch/no_grad")
    told = [record.getMessage() for record in caplog.records if "was ignored" in record.getMessage()]
    assert len(told) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        (("no model",), {}),
        ((a_net(), "no optimizer"), {}),
        ((a_net(),), {"every": 0}),
        ((a_net(),), {"every": 1.5}),
        ((a_net(),), {"prefix": ""}),
        ((a_net(),), {"log": "all"}),
        ((), {}),
    ],
)
def test_a_call_that_cannot_mean_anything_is_said_once(
    service: FakeService, caplog: pytest.LogCaptureFixture, arguments: tuple[Any, dict[str, Any]]
) -> None:
    run = a_run(service, strict=False)
    for _ in range(2):
        run.watch(*arguments[0], **arguments[1])
    run.log({"loss": 1}, step=0)
    run.finish()

    assert sum("watch() was ignored" in record.getMessage() for record in caplog.records) == 1
    assert of(service, "loss") == [1]


def test_muted_runs_hook_nothing(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    model = a_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    truerun.init("burgers", mode="off").watch(model, optimizer)
    monkeypatch.setenv("RANK", "1")
    a_run(service)
    truerun.watch(model, optimizer)

    assert not optimizer._optimizer_step_pre_hooks


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_child_watches_nothing(service: FakeService) -> None:
    model = a_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run = a_run(service)
    run.watch(model, optimizer, every=1)
    train(run, model, optimizer, 1)
    with warnings.catch_warnings():
        # Newer Pythons warn of a fork beside threads; that is what is tested.
        warnings.simplefilter("ignore")
        pid = os.fork()
    if pid == 0:
        steps = run._watches[0]._steps[0]
        os._exit(0 if steps.is_stopped else 1)
    _, status = os.waitpid(pid, 0)
    train(run, model, optimizer, 1)
    run.finish()

    assert os.waitstatus_to_exitcode(status) == 0
    assert len(of(service, "watch/grad_norm")) == 2


def test_between_readings_a_step_costs_next_to_nothing(service: FakeService) -> None:
    model = a_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run = a_run(service)
    run.watch(model, optimizer, every=10**9)
    (steps,) = run._watches[0]._steps
    steps.watch_step(optimizer, has_closure=False)
    steps.watch_stepped(optimizer)

    began = time.thread_time()
    for _ in range(10_000):
        steps.watch_step(optimizer, has_closure=False)
        steps.watch_stepped(optimizer)
    seconds = time.thread_time() - began
    run.finish()

    # Two microseconds or so a step; the limit leaves room for a machine that others use.
    assert seconds / 10_000 < 20e-6
