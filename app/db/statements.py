"""What a run states of an evaluation, as strict JSON and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.domain.evaluations import Loss, Stated
from app.domain.record import number_from_json, number_to_json


def stated_to_document(stated: Stated) -> dict[str, Any]:
    return {"n": stated.n, "overall": {name: number_to_json(x) for name, x in stated.overall.items()}}


def loss_to_document(loss: Loss) -> dict[str, Any]:
    return {
        "train": number_to_json(loss.train),
        "val": number_to_json(loss.val),
        "total": number_to_json(loss.total),
        "parts": {name: number_to_json(x) for name, x in loss.parts.items()},
        "weights": {name: number_to_json(x) for name, x in loss.weights.items()},
    }


def stated_from_document(document: Mapping[str, Any]) -> Stated:
    return Stated(n=document.get("n"), overall=_numbers(document.get("overall") or {}))


def loss_from_document(document: Mapping[str, Any]) -> Loss:
    return Loss(
        train=number_from_json(document.get("train")),
        val=number_from_json(document.get("val")),
        total=number_from_json(document.get("total")),
        parts=_numbers(document.get("parts") or {}),
        weights=_numbers(document.get("weights") or {}),
    )


def _numbers(document: Mapping[str, Any]) -> dict[str, float]:
    # Sorted, since jsonb has an order of its own and a sentence may name the first.
    numbers = {name: number_from_json(value) for name, value in sorted(document.items())}
    return {name: number for name, number in numbers.items() if number is not None}
