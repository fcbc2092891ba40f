"""Watching real models of torch: nobody waits for the numbers, and the training never notices."""

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
from tests.client.fake_service import FakeService  # noqa: E402
from tests.integrations.unread import Read, a_net, unread  # noqa: E402
from tests.integrations.watching import a_loss, a_run, of, the_stream, train  # noqa: E402


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
