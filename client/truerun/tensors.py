"""Tensors without a stall: nothing in here reads a number of a device on the user's thread, or makes anybody wait.

A scalar on a device is detached, gathered with the others of its device, and copied to pinned memory in the stream that
computes it; an event tells the writer's thread when it has arrived. torch is never imported, only found.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from typing import Any


def foreign() -> tuple[type, ...]:
    """Types that look like numbers and are tensors."""
    torch = sys.modules.get("torch")
    found = getattr(torch, "Tensor", None)
    return (found,) if isinstance(found, type) else ()


def is_tensor(value: Any) -> bool:
    """Whether it is a torch tensor, or behaves as one: it can be detached and lives on a device."""
    return hasattr(value, "detach") and hasattr(value, "device")


def array_scalar(value: Any) -> float | None:
    """The number of a numpy scalar or of an array without dimensions; None for anything else."""
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(value, numpy.ndarray | numpy.generic):
        return None
    if value.ndim != 0 or value.dtype.kind not in "biuf":
        return None
    return float(value.astype("float64")[()])


class Arriving:
    """Scalars on their way from their devices.

    Args:
        copies: (places in the record, a tensor on the host of shape (n,), the event after its copy or None).
    """

    def __init__(self, copies: list[tuple[list[int], Any, Any]]) -> None:
        self._copies = copies
        self._is_ready = False

    def is_ready(self) -> bool:
        if not self._is_ready:
            self._is_ready = all(event is None or event.query() for _, _, event in self._copies)
        return self._is_ready

    def values(self) -> Mapping[int, float]:
        found: dict[int, float] = {}
        for places, host, _ in self._copies:
            for place, number in zip(places, host.tolist(), strict=True):
                found[place] = float(number)
        return found


class _Moved:
    """The same, after some places of the record went away."""

    def __init__(self, late: Any, gone: Iterable[int]) -> None:
        self._late = late
        self._gone = sorted(gone)

    def is_ready(self) -> bool:
        ready: bool = self._late.is_ready()
        return ready

    def values(self) -> Mapping[int, float]:
        return {
            place - sum(each < place for each in self._gone): number
            for place, number in self._late.values().items()
        }


def moved(late: Any, gone: Iterable[int]) -> _Moved:
    return _Moved(late, gone)


def take(waiting: Mapping[int, Any]) -> tuple[Arriving | None, list[int]]:
    """Begin to copy scalars to the host.

    Args:
        waiting: Tensors by their place in the record.

    Returns:
        What arrives, and the places that hold no number or cannot be copied without waiting.
    """
    refused: list[int] = []
    by_device: dict[Any, list[tuple[int, Any]]] = {}
    for place, tensor in waiting.items():
        scalar = _scalar(tensor)
        if scalar is None:
            refused.append(place)
        else:
            by_device.setdefault(scalar.device, []).append((place, scalar))
    copies = []
    for scalars in by_device.values():
        try:
            copies.append(_copied(scalars))
        except Exception:  # noqa: BLE001 - a device's trouble is the training's own, it only loses this number
            refused.extend(place for place, _ in scalars)
    return (Arriving(copies) if copies else None), refused


def _scalar(tensor: Any) -> Any:
    """The tensor without its graph, of shape (); None when it is not one real number."""
    try:
        if getattr(tensor, "is_meta", False) or getattr(tensor, "is_sparse", False):
            return None
        if math.prod(tensor.shape) != 1 or _is_complex(tensor) or _is_wrapped(tensor):
            return None
        return tensor.detach().reshape(())
    except Exception:  # noqa: BLE001 - whatever a foreign object does, it is no reason to disturb the training
        return None


def _is_complex(tensor: Any) -> bool:
    is_complex = getattr(tensor, "is_complex", None)
    return bool(is_complex()) if callable(is_complex) else False


def _is_wrapped(tensor: Any) -> bool:
    """Tensors of functorch and distributed ones, which cannot be copied without more ado."""
    torch = sys.modules.get("torch")
    functorch = getattr(getattr(torch, "_C", None), "_functorch", None)
    is_wrapped = getattr(functorch, "is_functorch_wrapped_tensor", None)
    return hasattr(tensor, "to_local") or bool(is_wrapped is not None and is_wrapped(tensor))


def _copied(scalars: list[tuple[int, Any]]) -> tuple[list[int], Any, Any]:
    places = [place for place, _ in scalars]
    tensors = [tensor for _, tensor in scalars]
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(tensors[0], torch.Tensor):
        return places, _Stacked(tensors), None
    # float64 holds every number of the others but the largest 64-bit integers; where a device lacks it, float32.
    wide = torch.float32 if tensors[0].device.type == "mps" else torch.float64
    stacked = torch.stack([tensor.to(wide) for tensor in tensors])
    if stacked.device.type != "cuda":
        # Its own memory already: what the training changes in place afterwards does not reach it.
        return places, stacked, None
    if torch.cuda.is_current_stream_capturing():
        raise RuntimeError("a graph is being captured")
    host = torch.empty(stacked.shape, dtype=wide, pin_memory=True)
    host.copy_(stacked, non_blocking=True)
    event = torch.cuda.Event()
    event.record(torch.cuda.current_stream(stacked.device))
    return places, host, event


class _Stacked:
    """Stand-ins for tensors, read one by one where reading is allowed."""

    def __init__(self, tensors: list[Any]) -> None:
        self._tensors = tensors

    def tolist(self) -> list[float]:
        return [float(tensor.item()) for tensor in self._tensors]


class Several:
    """Late numbers of several groups in one record.

    Args:
        parts: (place of the first number, what arrives).
    """

    def __init__(self, parts: list[tuple[int, Any]]) -> None:
        self._parts = parts

    def is_ready(self) -> bool:
        return all(late.is_ready() for _, late in self._parts)

    def values(self) -> Mapping[int, float]:
        return {
            first + place: number for first, late in self._parts for place, number in late.values().items()
        }
