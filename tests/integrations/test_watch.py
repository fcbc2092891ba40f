"""Watching real models of torch: the numbers are right, whatever the model and its optimizer are like."""

from __future__ import annotations

import gc
import math
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch")

from tests.client.fake_service import FakeService  # noqa: E402
from tests.integrations.unread import a_net  # noqa: E402
from tests.integrations.watching import a_loss, a_run, of, the_stream, train, whole  # noqa: E402
from truerun import health  # noqa: E402


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
