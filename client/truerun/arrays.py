"""A batch in whatever form (list, numpy array, tensor) as samples and group labels; imports nothing."""

from __future__ import annotations

import math
import numbers
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from truerun.manners import WrongCall


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """The group of each sample of a batch.

    Args:
        names: Each group once.
        index: Shape (B,), into names; a numpy array of integers when the samples are a numpy array.
    """

    names: tuple[str, ...]
    index: Any


def samples_of(values: Any) -> Any:
    """One float per sample: a float64 numpy array when numpy is loaded already, else a list.

    Args:
        values: Shape (B,): a list, a numpy array, or a tensor on any device, with or without a gradient.

    Raises:
        WrongCall: It is a single number, has more than one dimension, or holds something else than numbers.
    """
    values = _on_host(values)
    if isinstance(values, numbers.Real) or getattr(values, "ndim", None) == 0:
        raise WrongCall(
            "scalar_batch",
            'the batch has been reduced to one number; pass one value per sample (B,): reduction="none"',
        )
    numpy = sys.modules.get("numpy")
    if numpy is not None and _is_array(values):
        return _vector(numpy, values)
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise WrongCall("not_numbers", f"values must be numbers, one per sample, not {type(values).__name__}")
    samples = [scalar_of(value) for value in values]
    return numpy.asarray(samples, dtype=float) if numpy is not None else samples


def scalar_of(value: Any) -> float:
    """One finite or non-finite number from a Python or numpy scalar or a 0-d tensor.

    Raises:
        WrongCall: It is no number, or more than one.
    """
    if isinstance(value, numbers.Real):
        return _float(value)
    value = _on_host(value)
    if isinstance(value, numbers.Real):
        return _float(value)
    if _is_array(value) and value.ndim == 0 and _holds_numbers(value.dtype):
        return _float(value.astype("float64")[()])
    shape = tuple(getattr(value, "shape", ()))
    if shape or isinstance(value, list | tuple):
        raise WrongCall(
            "not_scalar",
            f"one number is needed here, not {f'shape {shape}' if shape else type(value).__name__}",
        )
    raise WrongCall("not_numbers", f"a number is needed here, not {type(value).__name__}")


def labels_of(groups: Any, count: int, declared: Sequence[str] = ()) -> Labels:
    """The group of each of `count` samples.

    Args:
        groups: One label for the whole batch, or one per sample: strings, or integers. Integers are positions
            in `declared` (unless the declared names are numbers themselves); without declared groups they are
            names.

    Raises:
        WrongCall: There are more or fewer labels than samples, or one of them names no group.
    """
    numpy = sys.modules.get("numpy")
    if isinstance(groups, str):
        return Labels(
            names=(groups,), index=numpy.zeros(count, dtype=int) if numpy is not None else [0] * count
        )
    groups = _on_host(groups)
    if isinstance(groups, numbers.Number) or getattr(groups, "ndim", None) == 0:
        raise WrongCall("group_labels", "give one group label per sample, or one string for the whole batch")
    if isinstance(groups, bytes | Mapping) or not isinstance(groups, Iterable):
        raise WrongCall("group_labels", f"group labels must be a sequence, not {type(groups).__name__}")
    shape = tuple(getattr(groups, "shape", ()))
    if len(shape) > 1:
        raise WrongCall("group_labels", f"group labels have shape {shape}; one per sample is (B,)")
    distinct, index = _distinct(numpy, groups)
    if len(index) != count:
        raise WrongCall(
            "shape_mismatch", f"{count} values but {len(index)} group labels; both must have shape (B,)"
        )
    by_position = bool(declared) and not all(name.lstrip("-").isdigit() for name in declared)
    positions: dict[str, int] = {}
    place = [
        positions.setdefault(_name_of(label, declared if by_position else ()), len(positions))
        for label in distinct
    ]
    if numpy is not None:
        return Labels(
            names=tuple(positions), index=numpy.asarray(place, dtype=int)[numpy.asarray(index, dtype=int)]
        )
    return Labels(names=tuple(positions), index=[place[i] for i in index])


def _distinct(numpy: Any, groups: Any) -> tuple[Sequence[Any], Any]:
    """Each label once, and for each sample which of them it has."""
    # A float label must keep its own type until it is named; everything else is fastest in a dictionary.
    if numpy is not None and _is_array(groups) and numpy.asarray(groups).dtype.kind == "f":
        distinct, index = numpy.unique(numpy.asarray(groups), return_inverse=True)
        return list(distinct), index.reshape(-1)
    labels = list(groups.tolist() if _is_array(groups) else groups)
    seen: dict[Any, int] = {}
    try:
        index = [seen.setdefault(label, len(seen)) for label in labels]
    except TypeError:
        raise WrongCall("group_labels", "group labels must be strings or integers") from None
    return list(seen), index


def _name_of(label: Any, declared: Sequence[str]) -> str:
    if isinstance(label, str):
        return str(label)
    label = _on_host(label)
    if _is_array(label) and label.ndim == 0:
        label = label[()]
    if isinstance(label, numbers.Integral) and not isinstance(label, bool) and declared:
        if 0 <= int(label) < len(declared):
            return declared[int(label)]
        raise WrongCall("group_labels", f"group {int(label)} is none of the {len(declared)} declared groups")
    # A float32 label 0.3 must be the group "0.3", which only its own str() knows.
    if isinstance(label, numbers.Real) and math.isfinite(label):
        return str(label)
    raise WrongCall("group_labels", f"{type(label).__name__} is no group label; use strings or integers")


def _on_host(value: Any) -> Any:
    """A tensor as a numpy array (or as lists where numpy is not loaded); anything else as it is."""
    if not callable(getattr(value, "detach", None)):
        return value
    # Detached first, so that no graph is kept; double last, since not every device knows float64 and numpy no
    # bfloat16.
    tensor = value.detach()
    for step in ("cpu", "double"):
        convert = getattr(tensor, step, None)
        if callable(convert) and not (step == "double" and not _is_floating(tensor)):
            tensor = convert()
    if "numpy" in sys.modules or not callable(getattr(tensor, "tolist", None)):
        return tensor.numpy()
    return tensor.tolist()


def _is_floating(tensor: Any) -> bool:
    ask = getattr(tensor, "is_floating_point", None)
    return bool(ask()) if callable(ask) else False


def _is_array(value: Any) -> bool:
    return hasattr(value, "__array__") and hasattr(value, "dtype") and hasattr(value, "shape")


def _vector(numpy: Any, values: Any) -> Any:
    if isinstance(values, numpy.ma.MaskedArray):
        raise WrongCall(
            "masked_array", "a masked array hides samples; pass values[~mask] and the groups of these"
        )
    array = numpy.asarray(values)
    if array.ndim != 1:
        raise WrongCall(
            "shape_mismatch",
            f"values have shape {tuple(array.shape)}; one value per sample is (B,): errors.mean(dim=(1, 2))",
        )
    if not _holds_numbers(array.dtype):
        raise WrongCall("not_numbers", f"values must be numbers, not {array.dtype}")
    return array.astype(numpy.float64)


def _holds_numbers(dtype: Any) -> bool:
    return dtype.kind in "biuf" or dtype.name == "bfloat16"


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
