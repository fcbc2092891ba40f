"""A training's health around one step of an optimizer: gradients, updates, learning rates.

Norms are computed on the devices, all tensors of a kind together, and copied to the host together; what they add up to
is computed on the writer's thread. Nothing in here waits for a device or asks for a tensor's value.
"""

from __future__ import annotations

import math
import sys
import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from truerun import tensors
from truerun.manners import Manners
from truerun.points import Keys
from truerun.tensors import Arriving

# Numbers of the weights that are copied to see how they change: 16 MiB in single precision, whatever the model's size.
MOST_SAMPLED = 2**22
MOST_RATES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The numbers of one step by their place in the record, once the norms have arrived.

    Args:
        names: Places in the record.
        gradients: Places of the gradients' norms among what arrives.
        scale: Place of the factor that a loss scaler has multiplied the gradients with.
        shares: How many numbers of a parameter one number of its sample stands for.
        weights, changes: Places of the norms of each sample, and of what the step has changed in it.
        rates: Places of learning rates that live on a device.
    """

    arriving: Arriving
    names: Mapping[str, int]
    gradients: Sequence[int]
    scale: int | None
    shares: Sequence[float]
    weights: Sequence[int]
    changes: Sequence[int]
    rates: Mapping[str, int]

    def is_ready(self) -> bool:
        return self.arriving.is_ready()

    def values(self) -> Mapping[int, float]:
        arrived = self.arriving.values()
        found: dict[str, float] = {name: arrived[place] for name, place in self.rates.items()}
        if self.gradients:
            norms = [arrived[place] for place in self.gradients]
            total = math.hypot(*norms)
            found["grad_norm"] = total if self.scale is None else _ratio(total, arrived[self.scale])
            found["nonfinite"] = sum(not math.isfinite(norm) for norm in norms)
            found["zero_grad"] = sum(norm == 0 for norm in norms)
        if self.changes:
            found["update_ratio"] = _ratio(
                self._whole(arrived, self.changes), self._whole(arrived, self.weights)
            )
        return {self.names[name]: float(number) for name, number in found.items()}

    def _whole(self, arrived: Mapping[int, float], places: Sequence[int]) -> float:
        return math.hypot(
            *(math.sqrt(share) * arrived[place] for share, place in zip(self.shares, places, strict=True))
        )


@dataclass(frozen=True, slots=True)
class Taken:
    """What was read at one step, as a record takes it."""

    keys: Keys
    numbers: tuple[float, ...]
    late: Health


class Norms:
    """Euclidean norms of tensors, each on its device until all are carried to the host together."""

    def __init__(self) -> None:
        self._torch: Any = sys.modules["torch"]
        self._vectors: dict[Any, list[Any]] = {}
        self._places: dict[Any, list[int]] = {}
        self._count = 0

    def add(self, found: Sequence[Any]) -> list[int]:
        """The places of the tensors' norms among what will be carried."""
        first = self._count
        self._count += len(found)
        for indexes in _alike(found):
            alike = [found[index] for index in indexes]
            # 65,504 is the largest norm that half precision holds.
            is_half = alike[0].dtype in (self._torch.float16, self._torch.bfloat16)
            wide = self._torch.float32 if is_half else None
            norms = self._torch._foreach_norm(alike, 2, dtype=wide)  # noqa: SLF001 - torch's own clipping is built on it
            self._keep(alike[0].device, self._torch.stack(norms), [first + index for index in indexes])
        return list(range(first, self._count))

    def add_scalar(self, number: Any) -> int:
        """The place of a tensor that holds one number."""
        self._keep(number.device, number.detach().reshape(1), [self._count])
        self._count += 1
        return self._count - 1

    def carried(self) -> Arriving:
        return Arriving(
            [
                (self._places[device], *tensors.to_host(self._torch.cat(vectors)))
                for device, vectors in self._vectors.items()
            ]
        )

    def _keep(self, device: Any, vector: Any, places: list[int]) -> None:
        # A copy, since a scalar of the training's may be changed in place before it is carried.
        self._vectors.setdefault(device, []).append(vector.to(tensors.widest(device), copy=True))
        self._places.setdefault(device, []).extend(places)


class Reading:
    """What is read before and after one step; holds copies of what belongs to the training, never the thing itself."""

    def __init__(self, optimizer: Any, models: Iterable[Any], manners: Manners) -> None:
        self._torch: Any = sys.modules["torch"]
        self._manners = manners
        self._norms = Norms()
        self._gradients: list[int] | None = None
        self._scale: int | None = None
        self._missing = 0
        wanted = {id(parameter) for model in models for parameter in model.parameters()}
        held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        parameters = [parameter for parameter in held if id(parameter) in wanted]
        if not parameters:
            manners.complain(
                "watch_strangers",
                "watch(): the optimizer holds no parameter of the model, so it trains another",
            )
        for device in {parameter.device for parameter in parameters}:
            tensors.refuse_capture(device)
        # Weakly: a step that fails is never read to its end, and what it was about has to go.
        self._parameters = [weakref.ref(parameter) for parameter in parameters]
        self._take_sample([parameter for parameter in parameters if parameter.requires_grad])

    def take_gradients(self, *, scale: Any = None) -> None:
        """Take the gradients' norms, unless that was done.

        Args:
            scale: A tensor of one number that the gradients are multiplied with; None where they are not.
        """
        if self._gradients is not None:
            return
        found = []
        for reference in self._parameters:
            parameter = reference()
            if parameter is None:
                continue
            if parameter.grad is None:
                self._missing += bool(parameter.requires_grad)
            elif self._is_readable(parameter.grad):
                found.append(parameter.grad.detach())
        self._gradients = self._norms.add(found)
        if isinstance(scale, self._torch.Tensor):
            self._scale = self._norms.add_scalar(scale)

    def taken(self, optimizer: Any, prefix: str) -> Taken:
        """Everything that was read, on its way to the host.

        Args:
            prefix: Of the metrics' names.
        """
        changes = self._changes()
        gradients = self._gradients or []
        numbers: dict[str, float] = {"no_grad": float(self._missing)}
        rates: dict[str, int] = {}
        for name, rate in _rates(optimizer).items():
            if isinstance(rate, self._torch.Tensor):
                rates[name] = self._norms.add_scalar(rate)
                numbers[name] = math.nan
            else:
                numbers[name] = float(rate)
        late = [*(("grad_norm", "nonfinite", "zero_grad") if gradients else ())]
        late += ["update_ratio"] if changes else []
        numbers |= dict.fromkeys(late, math.nan)
        health = Health(
            arriving=self._norms.carried(),
            names={name: place for place, name in enumerate(numbers)},
            gradients=gradients,
            scale=self._scale,
            shares=self._shares,
            weights=self._weights,
            changes=changes,
            rates=rates,
        )
        names = tuple(("", f"{prefix}/{name}") for name in numbers)
        return Taken(Keys("", "", names), tuple(numbers.values()), health)

    def _take_sample(self, trained: Iterable[Any]) -> None:
        readable = [
            parameter
            for parameter in trained
            if (parameter.is_floating_point() or parameter.is_complex()) and self._is_readable(parameter)
        ]
        total = sum(parameter.numel() for parameter in readable)
        # Odd, so that a matrix whose width is a power of two gives numbers of all its columns.
        self._stride = 1 if total <= MOST_SAMPLED else math.ceil(total / MOST_SAMPLED) | 1
        self._sampled = [weakref.ref(parameter) for parameter in readable]
        views = [_spread(parameter, self._stride) for parameter in readable]
        self._shares = [
            parameter.numel() / view.numel() for parameter, view in zip(readable, views, strict=True)
        ]
        self._sample: list[Any] = [None] * len(views)
        for indexes in _alike(views):
            # Times one is a copy, of all of them in one kernel.
            copies = self._torch._foreach_mul([views[index] for index in indexes], 1)  # noqa: SLF001 - as above
            for index, copy in zip(indexes, copies, strict=True):
                self._sample[index] = copy
        self._weights = self._norms.add(self._sample)

    def _changes(self) -> list[int]:
        """The places of the norms of what the step has changed; none when a parameter is gone."""
        parameters = [parameter for reference in self._sampled if (parameter := reference()) is not None]
        if len(parameters) != len(self._sample):
            return []
        views = [_spread(parameter, self._stride) for parameter in parameters]
        for indexes in _alike(views):
            self._torch._foreach_sub_(
                [self._sample[index] for index in indexes], [views[index] for index in indexes]
            )
        return self._norms.add(self._sample)

    def _is_readable(self, tensor: Any) -> bool:
        is_plain = (
            type(tensor) in (self._torch.Tensor, self._torch.nn.Parameter)
            and tensor.layout is self._torch.strided
            and tensor.device.type != "meta"
            and not tensors.is_wrapped(tensor)
        )
        if not is_plain:
            kind = f"{type(tensor).__name__} of layout {getattr(tensor, 'layout', None)}"
            self._manners.complain(
                "watch_left_out",
                f"watch() leaves out what is sparse, sharded or a tensor of its own kind, such as a {kind}",
            )
        return is_plain and tensor.numel() > 0


def _rates(optimizer: Any) -> dict[str, Any]:
    """Learning rates by the group's name, or by its number."""
    return {
        f"lr/{group.get('name', number)}": group["lr"]
        for number, group in enumerate(optimizer.param_groups[:MOST_RATES])
        if "lr" in group
    }


def _alike(found: Sequence[Any]) -> list[list[int]]:
    """Indexes of the tensors by device and type, since the operations on many tensors take such as are alike."""
    groups: dict[tuple[Any, Any], list[int]] = {}
    for index, tensor in enumerate(found):
        groups.setdefault((tensor.device, tensor.dtype), []).append(index)
    return list(groups.values())


def _spread(parameter: Any, stride: int) -> Any:
    """Every stride-th number of the parameter, in the order in which they lie in memory, shape (n,)."""
    plain = parameter.detach()
    order = sorted(range(plain.dim()), key=plain.stride, reverse=True)
    return plain.permute(order).reshape(-1)[::stride]


def _ratio(part: float, whole: float) -> float:
    """NaN where there is nothing to compare with."""
    return part / whole if whole else math.nan
