"""Watching a training's health at its optimizers' steps: `run.watch(model, optimizer)`.

A hook before the step and one after it, both called by the optimizer. Every N steps they read (see health), in between
they count. What was read waits here for the next call of `log`, whose step it is recorded at.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from truerun.health import Reading, Taken
from truerun.manners import Manners, WrongCall, guarded

# More optimizers than that are one for each parameter, stepped within the backward pass.
MOST_OPTIMIZERS = 8


class Steps:
    """One optimizer's steps.

    Args:
        models: Whose parameters are looked at; when the last of them is gone, nothing is read any more.
        every: Of how many steps one is read; the first is.
        prefix: Of the metrics' names.

    Attributes:
        newest: What was read last, until somebody takes it.
    """

    def __init__(
        self, models: Sequence[weakref.ref[Any]], *, every: int, prefix: str, manners: Manners
    ) -> None:
        self.manners = manners
        self.newest: deque[Taken] = deque(maxlen=1)
        self.count = 0
        self.is_stepping = False
        self.is_stopped = False
        self._models = models
        self._every = every
        self._prefix = prefix
        self._reading: Reading | None = None

    def stop(self, _error: BaseException | None = None) -> None:
        """Read nothing any more. The hooks stay, for the optimizer may be going through them at this moment."""
        self.is_stopped = True
        self._reading = None
        self.newest.clear()

    @guarded(stop)
    def watch_step(self, optimizer: Any, *, has_closure: bool) -> None:
        if self.is_stopped:
            return
        self.is_stepping = True
        is_due = self.count % self._every == 0
        self.count += 1
        if is_due:
            self._read(optimizer, has_closure=has_closure)

    @guarded(stop)
    def watch_stepped(self, optimizer: Any) -> None:
        self.is_stepping = False
        reading, self._reading = self._reading, None
        if reading is None or self.is_stopped:
            return
        with sys.modules["torch"].no_grad():
            # A closure has computed the gradients within the step.
            reading.take_gradients()
            self.newest.append(reading.taken(optimizer, self._prefix))

    def _read(self, optimizer: Any, *, has_closure: bool) -> None:
        self._reading = None
        models = [model for reference in self._models if (model := reference()) is not None]
        if not models:
            self.stop()
            return
        with sys.modules["torch"].no_grad():
            reading = Reading(optimizer, models, self.manners)
            if not has_closure:
                # A loss scaler leaves unscaling to a fused optimizer and tells it the factor; to others it gives
                # gradients that are unscaled.
                reading.take_gradients(scale=getattr(optimizer, "grad_scale", None))
        self._reading = reading


def _no_steps(_watch: Any, _error: BaseException) -> Steps | None:
    return None


class Watch:
    """The optimizers of one call of `watch`.

    Args:
        model: A module or a sequence of modules.
        optimizer: One, a sequence, or a mapping of names to optimizers; None is every one that holds a parameter of
            the model when it steps.

    Raises:
        WrongCall: These are no modules and optimizers of torch.
    """

    def __init__(self, model: Any, optimizer: Any, *, every: int, prefix: str, manners: Manners) -> None:
        torch = sys.modules.get("torch")
        models = list(model) if isinstance(model, list | tuple) else [model]
        if torch is None or not models or not all(isinstance(each, torch.nn.Module) for each in models):
            raise WrongCall("watch", f"watch() takes modules of torch, not {type(model).__name__}")
        if type(every) is not int or every < 1:
            raise WrongCall("watch", f"every must be a whole number of steps above 0, not {every!r}")
        if not isinstance(prefix, str) or not prefix.isprintable() or not 0 < len(prefix) <= 128:
            raise WrongCall("watch", f"prefix must be a short printable text, not {prefix!r:.80}")
        self.prefix = prefix
        self.manners = manners
        self._every = every
        self._thread = threading.get_ident()
        # What compiling wraps a module in may be gone before the module is.
        self._models = [weakref.ref(getattr(each, "_orig_mod", each)) for each in models]
        self._steps: list[Steps] = []
        self._known: weakref.WeakKeyDictionary[Any, Steps | None] = weakref.WeakKeyDictionary()
        self._handles: list[Any] = []
        if optimizer is None:
            self._hook_all(torch)
        else:
            for name, each in _named(optimizer).items():
                self._hook(torch, each, self._new_steps(f"{prefix}/{name}" if name else prefix))

    def take(self) -> list[Taken]:
        """What was read since it was last asked for, at most once for each optimizer."""
        found = []
        for steps in self._steps:
            try:
                found.append(steps.newest.popleft())
            except IndexError:
                continue
        return found

    def stop(self) -> None:
        """End watching; an optimizer that is in the middle of a step keeps hooks that do nothing."""
        if not any(steps.count for steps in self._steps):
            self.manners.complain(
                "watch_unused",
                "watch() saw no step of an optimizer; one that is compiled or replayed as a CUDA graph calls no hooks",
            )
        self.abandon()
        is_safe = threading.get_ident() == self._thread and not any(each.is_stepping for each in self._steps)
        while is_safe and self._handles:
            self._handles.pop().remove()

    def abandon(self) -> None:
        """In a forked child: read nothing any more."""
        for steps in self._steps:
            steps.stop()

    def _new_steps(self, prefix: str) -> Steps:
        steps = Steps(self._models, every=self._every, prefix=prefix, manners=self.manners)
        self._steps.append(steps)
        return steps

    def _hook(self, torch: Any, optimizer: Any, steps: Steps) -> None:
        optimizer = _innermost(optimizer)
        if not hasattr(optimizer, "register_step_pre_hook") or not hasattr(optimizer, "param_groups"):
            raise WrongCall("watch", f"watch() takes optimizers of torch, not {type(optimizer).__name__}")
        before, after = _hooks(torch, lambda _optimizer: steps)
        self._handles.append(optimizer.register_step_pre_hook(before))
        self._handles.append(optimizer.register_step_post_hook(after))

    def _hook_all(self, torch: Any) -> None:
        before, after = _hooks(torch, self.watched_steps)
        # torch.optim takes this module's name away again once it has loaded it.
        optimizers: Any = sys.modules["torch.optim.optimizer"]
        self._handles.append(optimizers.register_optimizer_step_pre_hook(before))
        self._handles.append(optimizers.register_optimizer_step_post_hook(after))

    @guarded(_no_steps)
    def watched_steps(self, optimizer: Any) -> Steps | None:
        if optimizer in self._known:
            return self._known[optimizer]
        mine = {
            id(each) for reference in self._models if (model := reference()) for each in model.parameters()
        }
        steps = None
        if any(id(each) in mine for group in optimizer.param_groups for each in group["params"]):
            if len(self._steps) < MOST_OPTIMIZERS:
                number = len(self._steps)
                steps = self._new_steps(f"{self.prefix}/{number}" if number else self.prefix)
            else:
                self.manners.complain(
                    "watch_many", f"watch() looks at the first {MOST_OPTIMIZERS} optimizers of a model only"
                )
        self._known[optimizer] = steps
        return steps


def _hooks(
    torch: Any, steps_of: Callable[[Any], Steps | None]
) -> tuple[Callable[..., None], Callable[..., None]]:
    is_compiling = torch.compiler.is_compiling

    def before(optimizer: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        # What is read cannot be compiled into a step, and breaking the graph would be the training's loss.
        if is_compiling():
            return
        steps = steps_of(optimizer)
        if steps is not None:
            has_closure = kwargs.get("closure") is not None or any(callable(each) for each in args[1:])
            steps.watch_step(optimizer, has_closure=has_closure)

    def after(optimizer: Any, _args: tuple[Any, ...], _kwargs: Mapping[str, Any]) -> None:
        if is_compiling():
            return
        steps = steps_of(optimizer)
        if steps is not None:
            steps.watch_stepped(optimizer)

    return before, after


def _named(optimizer: Any) -> dict[str, Any]:
    """Optimizers by what is added to the prefix: nothing where there is one."""
    if isinstance(optimizer, Mapping):
        return {str(name): each for name, each in optimizer.items()}
    if isinstance(optimizer, list | tuple):
        return {str(number): each for number, each in enumerate(optimizer)}
    return {"": optimizer}


def _innermost(optimizer: Any) -> Any:
    """The optimizer whose step is the real one, where a framework has wrapped it."""
    for _ in range(MOST_OPTIMIZERS):
        inner = getattr(optimizer, "optimizer", None)
        if not hasattr(inner, "register_step_pre_hook"):
            break
        optimizer = inner
    return optimizer
