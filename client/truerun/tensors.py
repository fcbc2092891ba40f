"""Tensors without a stall: nothing in here reads a number of a device on the user's thread, or makes anybody wait.

A scalar on a device is detached, gathered with the others of its device, and copied to pinned memory in the stream that
computes it; a flag that is copied after it tells the writer's thread that it has arrived. torch is never imported, only
found.
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
    try:
        return hasattr(value, "detach") and hasattr(value, "device")
    except Exception:  # noqa: BLE001 - to be asked for anything can be an error of its own
        return False


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
        copies: (places in the record, a tensor on the host of shape (n,), the flag that is copied after it or None).
    """

    def __init__(self, copies: list[tuple[list[int], Any, Any]]) -> None:
        self._copies = copies
        self._is_ready = False

    def is_ready(self) -> bool:
        if not self._is_ready:
            self._is_ready = all(flag is None or flag.item() == 1 for _, _, flag in self._copies)
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
            # Perhaps it is one of them that cannot be copied.
            for alone in scalars:
                try:
                    copies.append(_copied([alone]))
                except Exception:  # noqa: BLE001 - as above
                    refused.append(alone[0])
    return (Arriving(copies) if copies else None), refused


def _scalar(tensor: Any) -> Any:
    """The tensor without its graph, of shape (); None when it is not one real number."""
    try:
        if getattr(tensor, "is_meta", False) or getattr(tensor, "is_sparse", False):
            return None
        if math.prod(tensor.shape) != 1 or _is_complex(tensor) or is_wrapped(tensor):
            return None
        return tensor.detach().reshape(())
    except Exception:  # noqa: BLE001 - whatever a foreign object does, it is no reason to disturb the training
        return None


def _is_complex(tensor: Any) -> bool:
    is_complex = getattr(tensor, "is_complex", None)
    return bool(is_complex()) if callable(is_complex) else False


def is_wrapped(tensor: Any) -> bool:
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
    device = tensors[0].device
    refuse_capture(device)
    # A new tensor: what the training changes in place afterwards does not reach it.
    return places, *to_host(torch.stack([tensor.to(widest(device)) for tensor in tensors]))


def widest(device: Any) -> Any:
    """float64, which holds every number of the others but the largest 64-bit integers; float32 where it is lacking."""
    torch = sys.modules["torch"]
    return torch.float32 if device.type == "mps" else torch.float64


def to_host(numbers: Any) -> tuple[Any, Any]:
    """Begin to copy a tensor of ours, shape (n,), that nobody else changes, to the host.

    Returns:
        What the numbers are read from, and a flag of shape (1,) that becomes 1 once they are there; without a flag
        they are there whenever the device answers.
    """
    if numbers.device.type != "cuda":
        return numbers, None
    torch = sys.modules["torch"]
    count = numbers.shape[0]
    pinned = torch.empty(count + 1, dtype=numbers.dtype, pin_memory=True)
    host, flag = pinned[:count], pinned[count:]
    flag.zero_()
    host.copy_(numbers, non_blocking=True)
    # The stream keeps the order, so this copy ends last. An event would tell the same, but whoever asks for one while
    # another thread captures a CUDA graph breaks the capture.
    flag.copy_(numbers.new_ones(1), non_blocking=True)
    return host, flag


def refuse_capture(device: Any) -> None:
    """Nothing is copied into a CUDA graph that is being captured: it would be repeated, not done.

    Raises:
        RuntimeError: The current stream is being captured.
    """
    torch = sys.modules["torch"]
    if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        raise RuntimeError("a CUDA graph is being captured")


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
